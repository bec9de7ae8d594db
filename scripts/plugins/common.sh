# What the builds of plugins share; sourced by the scripts beside it, which scripts/build-plugins runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

out=$PLUGINS_OUT
target=$PLUGINS_TARGET
cache=${ALLUVIUM_CACHE_DIR:-$HOME/.cache/alluvium}
xtask=$target/plugins-build/debug/xtask
# Of all the plugins here; those in Rust write it into themselves.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' plugins/Cargo.toml)

say() { echo "build-plugins: $*" >&2; }
die() { say "$*"; exit 1; }

# stale FILE SOURCE...: whether FILE is missing, or older than a source (a file or a folder).
stale() { [ ! -e "$1" ] || [ -n "$(find "${@:2}" -type f -newer "$1" -print -quit)" ]; }

# componentize CORE COMPONENT [WORLD [VERSION]]
componentize() {
    "$xtask" componentize "$@"
    report "$2"
}

report() { say "$1 ($(stat -c %s "$1") bytes)"; }
