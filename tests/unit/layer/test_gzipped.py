import io
import zlib
from types import ModuleType

import pytest
from isal import isal_zlib

from polyarch.layer.gzipped import Gzip, deflated

DATA = b"146" * 200_000
STORED = bytes.fromhex("000100feff")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 8, 9, 17, 300, 9728, 40_000, 600_000])
@pytest.mark.parametrize("library", [zlib, isal_zlib])
def test_deflated_is_what_zlib_inflates(library: ModuleType, size: int) -> None:
    data = DATA[:size]

    assert zlib.decompress(deflated(library, 2, data), -zlib.MAX_WBITS) == data
    assert zlib.decompress(deflated(library, 2, memoryview(data)), -zlib.MAX_WBITS) == data


def test_isal_never_compresses_without_a_window() -> None:
    # Without one it makes one stream of ten thousand otherwise, by the address that the compressor has.
    assert deflated(isal_zlib, 2, DATA).startswith(STORED + DATA[:1])
    assert not deflated(isal_zlib, 2, DATA[3:], DATA[:3], last=False).startswith(STORED)
    assert not deflated(zlib, 2, DATA).startswith(STORED)


def test_only_the_first_chunk_of_a_stream_has_no_window_of_its_own() -> None:
    out = io.BytesIO()
    with Gzip(out, isal_zlib, 2) as compressor:
        compressor.write(DATA)
        compressor.finish()

    assert out.getvalue()[10:].startswith(STORED + DATA[:1])
    assert out.getvalue().count(STORED) == 1
    assert zlib.decompress(out.getvalue(), wbits=31) == DATA
