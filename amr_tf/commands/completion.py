"""Shell completion of `amr`, by a script that contains the names of all commands and flags.

The script contains them because importing the package on every completion would take seconds.
"""

import importlib

from amr_tf.commands import COMMANDS
from amr_tf.registry import unknown_name

# Flags of every command, besides its own.
_OF_ALL = ("--flagfile=", "--help", "--helpfull", "--version")
_BASH = """\
# Completion of amr in bash: put this line into ~/.bashrc
#   eval "$(amr --completion=bash)"
# or, as it takes seconds, write its output to a file and source that.
_amr() {
    local word="${COMP_WORDS[COMP_CWORD]}" words
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words="@COMMANDS@"
    elif [[ $word == *=* || ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "${word##*=}")  # bash splits at the =.
        return
    else
        case "${COMP_WORDS[1]}" in
@FLAGS@
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
}
complete -F _amr amr
"""
_ZSH = """\
# Completion of amr in zsh: put this line into ~/.zshrc, below compinit
#   eval "$(amr --completion=zsh)"
# or, as it takes seconds, write its output to a file and source that.
_amr() {
    local words_of
    if ((CURRENT == 2)); then
        compadd -- @COMMANDS@
    elif compset -P '*='; then
        _files
    else
        case "$words[2]" in
@FLAGS@
        esac
        compadd -- ${${(M)${=words_of}:#*[^=]}}
        compadd -S '' -- ${${(M)${=words_of}:#*=}}
    fi
}
compdef _amr amr
"""
_SHELLS = {"bash": (_BASH, "words"), "zsh": (_ZSH, "words_of")}


def script(shell: str) -> str:
    """Returns a completion script for the commands of `amr` and their flags.

    Args:
        shell: "bash" or "zsh".

    Raises:
        ValueError: the shell is not supported.
    """
    if shell not in _SHELLS:
        raise unknown_name("shell", shell, _SHELLS)
    text, variable = _SHELLS[shell]
    cases = [f'            {name}) {variable}="{" ".join(_flags(name))}" ;;' for name in COMMANDS]
    names = " ".join([*COMMANDS, "--help", "--version"])
    return text.replace("@COMMANDS@", names).replace("@FLAGS@", "\n".join(cases))


def _flags(name: str) -> list[str]:
    """Returns a command's flags as typed, with = if they take a value."""
    values = importlib.import_module(f"amr_tf.commands.{name}").COMMAND.new_flags()
    own = [f"--{flag}" + ("" if values[flag].boolean else "=") for flag in values]
    return sorted([*own, *_OF_ALL])
