// What docker's GitHub actions do by the package that they share: ask for version and builder, build, read what
// was left behind, and export the record. Arguments: the context, and the file for what was read, as JSON.
import {execFileSync} from 'child_process';
import fs from 'fs';
import {Build} from '@docker/actions-toolkit/lib/buildx/build.js';
import {Builder} from '@docker/actions-toolkit/lib/buildx/builder.js';
import {Buildx} from '@docker/actions-toolkit/lib/buildx/buildx.js';
import {History} from '@docker/actions-toolkit/lib/buildx/history.js';

const [context, target] = process.argv.slice(2);
const buildx = new Buildx({standalone: true});
const builder = new Builder({buildx});
const build = new Build({buildx});
const read = {
  available: await buildx.isAvailable(),
  version: await buildx.version(),
  newEnough: await buildx.versionSatisfies('>=0.31.0'),
  exists: [await builder.exists('default'), await builder.exists('nobody')],
  builder: await builder.inspect('default')
};
const files = ['--iidfile', build.getImageIDFilePath(), '--metadata-file', build.getMetadataFilePath()];
const called = await buildx.getCommand(['build', ...files, '-t', 'app', context]);
execFileSync(called.command, called.args, {stdio: 'inherit'});
const metadata = build.resolveMetadata();
read.imageID = build.resolveImageID();
read.ref = build.resolveRef(metadata);
read.digest = build.resolveDigest(metadata);
read.warnings = build.resolveWarnings(metadata);
read.localState = Buildx.localState(read.ref);
const [name, , id] = read.ref.split('/');
const history = new History({buildx});
read.inspected = await history.inspect({ref: id, builder: name});
read.exported = await history.export({refs: [read.ref]});
fs.writeFileSync(target, JSON.stringify(read));
