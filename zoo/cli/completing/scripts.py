"""What a shell runs to complete a command line: short scripts that ask the program, and never show an error."""

_BASH = r"""
_zoo_completion() {
    local answer line first=1
    COMPREPLY=()
    answer=$(_ZOO_COMPLETE=bash _ZOO_LINE="${COMP_LINE:0:COMP_POINT}" _ZOO_BREAKS="$COMP_WORDBREAKS" \
        "${1/#\~/$HOME}" 2>/dev/null </dev/null) || return 0
    while IFS= read -r line; do
        if [ "$first" = 1 ]; then
            first=0
            [ "$line" = nospace ] && compopt -o nospace 2>/dev/null
        elif [ -n "$line" ]; then
            COMPREPLY+=("$line")
        fi
    done <<< "$answer"
    return 0
}
complete -F _zoo_completion zoo
"""

_ZSH = r"""
#compdef zoo
_zoo() {
    local space text shown
    local -a finished finished_shown unfinished unfinished_shown
    while IFS=$'\t' read -r space text shown; do
        if [[ $space == space ]]; then
            finished+=("$text"); finished_shown+=("$shown")
        else
            unfinished+=("$text"); unfinished_shown+=("$shown")
        fi
    done < <(_ZOO_COMPLETE=zsh _ZOO_LINE="${(j: :)words[1,CURRENT-1]} ${QIPREFIX}${IPREFIX}${PREFIX}" \
        ${~words[1]} 2>/dev/null </dev/null)
    (( $#finished )) && compadd -l -d finished_shown -a -- finished
    (( $#unfinished )) && compadd -S '' -l -d unfinished_shown -a -- unfinished
    return 0
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _zoo zoo
"""

_FISH = r"""
function __zoo_complete
    set -lx _ZOO_COMPLETE fish
    set -lx _ZOO_LINE (commandline -cp | string collect)
    set -l program (commandline -opc)[1]
    $program 2>/dev/null </dev/null
end
complete --command zoo --no-files --arguments '(__zoo_complete)'
"""

SCRIPTS = {"bash": _BASH.lstrip(), "zsh": _ZSH.lstrip(), "fish": _FISH.lstrip()}
"""By the name of the shell."""

HOW_TO_USE = {
    "bash": 'eval "$(zoo completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(zoo completion zsh)"   in ~/.zshrc',
    "fish": "zoo completion fish | source   in ~/.config/fish/config.fish",
}
