# Shared by scripts/start and scripts/test: makes a bare Debian 12 machine able to build Hamroh. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc)

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

fail() {
  printf 'hamroh: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "packages are missing ($*); run this as root, or install sudo"
  fi
}

# need PACKAGE…: installs those that are not there. Touches no network when all are.
need() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  say "Installing ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Node may come from another source than Debian's package (then npm comes with it).
need_node() {
  local missing=()
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  [ ${#missing[@]} = 0 ] || need "${missing[@]}"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || fail "Node 18 or newer is needed, here is $(node --version)"
}

need_to_build() {
  need ca-certificates gcc libc6-dev cmake ninja-build pkg-config liblmdb-dev libwebsockets-dev libwebsockets-evlib-ev \
    libev-dev libsodium-dev libssl-dev libcurl4-openssl-dev liblua5.4-dev libseccomp-dev uthash-dev
  need_node
}

# node_modules FOLDER: as its lock file says; nothing to do when that was done for this lock file before.
node_modules() {
  local folder=$1 stamp=$1/node_modules/.hamroh-lock
  cmp -s "$folder/package-lock.json" "$stamp" && return 0
  (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error >/dev/null)
  cp "$folder/package-lock.json" "$stamp"
}

# build PRESET [TARGET…]
build() {
  local preset=$1
  shift
  cmake -S "$root" --preset "$preset" >"$root/build/$preset.log" 2>&1 || { cat "$root/build/$preset.log" >&2; fail "configuring $preset failed"; }
  cmake --build "$root/build/$preset" -j "$jobs" ${1:+--target "$@"} >>"$root/build/$preset.log" 2>&1 ||
    { tail -n 60 "$root/build/$preset.log" >&2; fail "building $preset failed; the whole log is build/$preset.log"; }
}

build_web() {
  node_modules "$root/web"
  (cd "$root/web" && npm run --silent build)
}
