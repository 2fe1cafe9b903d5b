# Completion for cdcdump in bash 4 and later; of the package bash-completion nothing is needed.
#
# The build of cdcdump puts in the options: letter or "-", name, what the value is, the actions that
# the option goes with, words that the value may be.  tools/describe.c has the particulars.
read -r -d '' _cdcdump_options <<'END'
@OPTIONS@
END

# Looks for the option -X or --NAME; sets name, value, actions and allowed.
_cdcdump_find()
{
    local dashes=${1%%[!-]*} text=${1#-} pattern
    text=${text#-}
    [[ $text =~ ^[A-Za-z][a-z-]*$ ]] || return 1
    if [[ $dashes = -- ]]; then pattern="[^ ] ($text)"; else pattern="$text ([^ ]+)"; fi
    pattern=$'\n'$pattern$' ([a-z]+)[*]? ([^ \n]+)([^\n]*)'
    [[ $'\n'$_cdcdump_options =~ $pattern ]] || return 1
    name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    actions=${BASH_REMATCH[3]} allowed=${BASH_REMATCH[4]}
}

# Sets words to those up to the cursor, with what readline has broken at "=" or ":" put together.
_cdcdump_words()
{
    local i word blanks rest=${COMP_LINE:0:COMP_POINT}
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blanks=${rest%%[![:space:]]*}
        rest=${rest:${#blanks}}
        word=${COMP_WORDS[i]}
        [[ $i -lt $COMP_CWORD ]] || word=$rest
        rest=${rest:${#word}}
        if [[ $blanks || ${#words[@]} -eq 0 ]]; then words+=("$word"); else words[-1]+=$word; fi
    done
}

# What has been typed says which server to ask; quotes do not matter.
_cdcdump_keep()
{
    local typed=${2//[\"\'\\]/}
    case $1 in
    host) server+=(-h "$typed") ;;
    port) server+=(-p "$typed") ;;
    username) server+=(-U "$typed") ;;
    dbname) database=$typed ;;
    esac
}

# Walks over a word that may be letters, the last of them with a value: sets name, value, actions
# and allowed of that one, typed to what is there of its value and lead to what stands before that.
_cdcdump_letters()
{
    local i
    for ((i = 1; i < ${#1}; i++)); do
        _cdcdump_find "-${1:i:1}" || return 1
        [[ $value = none || $value = action ]] && continue
        lead=${1:0:i+1} typed=${1:i+1}
        return 0
    done
    return 1
}

# Reads the words before the current one.  Sets action, server, database, operand, no_more (after
# --), and wanted to what the option before the cursor waits for.
_cdcdump_read()
{
    local i word name value actions allowed lead typed
    for word in "${COMP_WORDS[@]:1}"; do
        [[ $word = --?* ]] && _cdcdump_find "$word" && [[ $value = action ]] && action=$name
    done
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]} typed='' lead=''
        if [[ $wanted ]]; then
            _cdcdump_find "$wanted" && _cdcdump_keep "$name" "$word"
            wanted=
        elif [[ $no_more || $word != -?* ]]; then
            [[ $word = *[\<\>\|\&]* ]] || operand=$word
        elif [[ $word = -- ]]; then
            no_more=1
        elif [[ $word = --*=* ]]; then
            _cdcdump_find "${word%%=*}" && _cdcdump_keep "$name" "${word#*=}"
        elif [[ $word = --* ]]; then
            _cdcdump_find "$word" && [[ $value != none && $value != action ]] && wanted=$word
        elif _cdcdump_letters "$word"; then
            if [[ $typed ]]; then _cdcdump_keep "$name" "$typed"; else wanted=-${lead: -1}; fi
        fi
    done
    [[ $database ]] || database=${operand//[\"\'\\]/}
}

# Prints what a query gives and begins with $2, as the shell reads it: the names are other people's.
# A server that is slow or wants a password is not waited for.
_cdcdump_psql()
{
    local line
    local -x PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-2}
    while IFS= read -r line; do
        printf -v line %q "$line"
        [[ $line = "$2"* ]] && printf '%s\n' "$line"
    done < <(psql -XAtqw "${server[@]}" -d postgres -c "$1" 2>/dev/null </dev/null)
}

_cdcdump_slots()
{
    local -x PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-2}
    "${words[0]/#\~/$HOME}" --list-slots -F ndjson -wq "${server[@]}" \
        -d "${database:-${PGDATABASE:-postgres}}" 2>/dev/null </dev/null |
        sed -n 's/^{"[a-z_]*":"\([a-z0-9_]*\)".*/\1/p'
}

# Prints what a value that begins with $2 may be.
_cdcdump_values()
{
    case $1 in
    words) compgen -W "$allowed" -- "$2" ;;
    file) compgen -f -- "$2" ;;
    command) compgen -c -- "$2" ;;
    host) if [[ $2 = /* ]]; then compgen -d -- "$2"; else compgen -A hostname -- "$2"; fi ;;
    database) _cdcdump_psql 'SELECT datname FROM pg_database WHERE datallowconn' "$2" ;;
    role) _cdcdump_psql 'SELECT rolname FROM pg_roles WHERE rolcanlogin' "$2" ;;
    slot) compgen -W "$(_cdcdump_slots)" -- "$2" ;;
    esac
}

# Offers values, each behind what of its word stands before it.
_cdcdump_offer_values()
{
    local line
    [[ $value = file || $value = host && $typed = /* ]] && compopt -o filenames 2>/dev/null
    while IFS= read -r line; do
        COMPREPLY+=("$lead$line")
    done < <(_cdcdump_values "$value" "$typed")
}

_cdcdump_offer_options()
{
    local letter name value actions allowed
    while read -r letter name value actions allowed; do
        [[ ,$actions, = *,$action,* && -n $name ]] || continue
        [[ $value = action && $action != capture && $action != "$name" ]] && continue
        [[ -$letter = "$1"* && $letter != - ]] && COMPREPLY+=("-$letter")
        case $value in
        none | action) ;;
        *) name+='=' ;;
        esac
        [[ --$name = "$1"* ]] && COMPREPLY+=("--$name")
    done <<<"$_cdcdump_options"
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} = *= ]] && compopt -o nospace 2>/dev/null
}

_cdcdump()
{
    local IFS=$' \t\n' action=capture database='' operand='' no_more='' wanted=''
    local name='' value='' actions='' allowed='' lead='' typed current head breaks
    local -a words server=()
    COMPREPLY=()
    _cdcdump_words
    _cdcdump_read
    current=${words[-1]} typed=$current
    if [[ ${words[-2]} = *[\<\>] ]]; then
        value='file'
    elif [[ $wanted ]]; then
        _cdcdump_find "$wanted"
    elif [[ ! $no_more && $current = --*=* ]]; then
        lead=${current%%=*}= typed=${current#*=}
        _cdcdump_find "${current%%=*}" || return 0
    elif [[ ! $no_more && $current = -* ]]; then
        if [[ $current = --* || $current = - ]] || ! _cdcdump_letters "$current"; then
            _cdcdump_offer_options "$current"
            return 0
        fi
    elif [[ ! $database ]]; then
        value='database'
    fi
    _cdcdump_offer_values
    # Readline puts what is offered behind the last of the characters at which it breaks words.
    breaks=${COMP_WORDBREAKS//[!=:]/}
    if [[ $breaks ]]; then
        head=${current%"${current##*["$breaks"]}"}
        COMPREPLY=("${COMPREPLY[@]#"$head"}")
    fi
}

complete -F _cdcdump cdcdump
