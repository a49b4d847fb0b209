#!/bin/sh
# What a container of the image runs first: it gives a node its name, and becomes the command it was told.
#
# The host name of a container is a random number. Compose calls the container itself something like
# luna-node-2, and the DNS server of its network tells that to whoever asks for the container's address;
# such a node is called node-2. Elsewhere Luna makes the name of the host name, as usual.
set -eu

# The end of a container's name, SERVICE-NUMBER; nothing if it has another form. Older versions of compose
# write underscores, and the name of the network comes behind a dot.
name_of() {
    sed -nE 's/^([^.]*[-_])?([A-Za-z0-9]+)[-_]([0-9]+)(\..*)?$/\2-\3/p'
}

# Asks the DNS server alone: /etc/hosts knows the address too, by the random number.
container_name() {
    address=$(hostname -i 2>/dev/null | cut -d ' ' -f 1)
    getent -s hosts:dns hosts "$address" 2>/dev/null | awk '{ print $2; exit }'
}

starts_unnamed_node() {
    [ "${1-} ${2-}" = "luna-node start" ] || return 1
    for argument in "$@"; do
        case "$argument" in --name | --name=*) return 1 ;; esac
    done
}

if starts_unnamed_node "$@"; then
    name=$(container_name | name_of)
    if [ -n "$name" ]; then set -- "$@" --name "$name"; fi
fi
exec "$@"
