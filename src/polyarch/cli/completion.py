"""`completion`: the script that makes a shell ask us what could stand where the cursor is."""

from __future__ import annotations

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Options
from polyarch.errors import InputError

__all__ = ["COMPLETION", "script"]

# bash splits words at "=" and ":", too, and wants only what is behind the last of them.
_BASH = r"""# bash completion for polyarch
_polyarch() {
    local line=${COMP_LINE:0:COMP_POINT} reply word directive prefix
    local -a words lines
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]} - 1]}
    reply=$("${words[0]/#\~/$HOME}" __completeNoDesc "${words[@]:1}" 2>/dev/null) || return
    mapfile -t lines <<<"$reply"
    directive=${lines[${#lines[@]} - 1]#:}
    unset "lines[${#lines[@]} - 1]"
    prefix=""
    [[ $word == *[=:]* && $COMP_WORDBREAKS == *[=:]* ]] && prefix=${word%"${word##*[=:]}"}
    COMPREPLY=("${lines[@]#"$prefix"}")
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    if ((directive & 16)); then
        mapfile -t COMPREPLY < <(compgen -d -- "${word#"$prefix"}")
        compopt -o filenames 2>/dev/null
    elif ((!(directive & 4) && ${#COMPREPLY[@]} == 0)); then
        mapfile -t COMPREPLY < <(compgen -f -- "${word#"$prefix"}")
        compopt -o filenames 2>/dev/null
    fi
    return 0
}
complete -F _polyarch polyarch
"""

_ZSH = r"""#compdef polyarch
# zsh completion for polyarch
_polyarch() {
    local directive line
    local -a lines described
    lines=("${(@f)$("${~words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    directive=${lines[-1]#:}
    lines[-1]=()
    for line in "${lines[@]}"; do
        local value=${line%%$'\t'*} meaning=""
        [[ $line == *$'\t'* ]] && meaning=${line#*$'\t'}
        described+=("${value//:/\\:}${meaning:+:$meaning}")
    done
    if (( directive & 16 )); then
        compset -P '*='
        _files -/
    elif (( ${#described} )); then
        _describe -V completions described
    elif (( !(directive & 4) )); then
        compset -P '*='
        _files
    fi
}
if [[ ${funcstack[1]} == _polyarch ]]; then
    _polyarch "$@"
else
    compdef _polyarch polyarch
fi
"""

_FISH = r"""# fish completion for polyarch
function __polyarch_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l lines ($words[1] __complete $words[2..-1] "$word" 2>/dev/null)
    test (count $lines) -gt 0; or return
    set -l directive (string replace ':' '' -- $lines[-1])
    set -e lines[-1]
    set -l prefix (string match -r '^--[^=]*=' -- "$word")
    set -q prefix[1]; or set prefix ''
    set -l path (string replace -r '^--[^=]*=' '' -- "$word")
    if test (math "bitand($directive, 16)") -ne 0
        printf '%s\n' $prefix(__fish_complete_directories "$path")
    else if test (count $lines) -gt 0
        printf '%s\n' $lines
    else if test (math "bitand($directive, 4)") -eq 0
        printf '%s\n' $prefix(__fish_complete_path "$path")
    end
end
complete -c polyarch -f -a '(__polyarch_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """Return the script of a shell. Raises InputError for one that we have none for."""
    if shell not in _SCRIPTS:
        raise InputError(
            f"no completion for the shell {shell!r}", hint=f"use one of {', '.join(_SCRIPTS)}"
        )
    return _SCRIPTS[shell]


def _run(options: Options, context: Context) -> int:
    text = script(options.arguments[0])
    if context.is_plugin:
        raise InputError(
            "docker completes the words of its plugins itself",
            hint=f"use docker's own script: docker completion {options.arguments[0]}",
        )
    context.stdout.write(text)
    return 0


COMPLETION = Command(
    usage="bash | zsh | fish",
    run=_run,
    least=1,
    most=1,
    completes="shells",
    example=(
        "$ source <(polyarch completion bash)                    # now\n"
        "$ polyarch completion bash > ~/.local/share/bash-completion/completions/polyarch\n"
        '$ polyarch completion zsh > "${fpath[1]}/_polyarch"\n'
        "$ polyarch completion fish > ~/.config/fish/completions/polyarch.fish"
    ),
)
