# Install another Debian in a folder, in which the checkout is visible at its
# own path.  Other scripts of this folder source this file.  They need root, for
# chroot(2) and mounts.

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Start the script again, with its arguments, in a mount namespace of its own:
# its mounts are visible only to it and its children, and end with it.
with_private_mounts() { # ARGUMENT...
    [ "$(id -u)" -eq 0 ] || fail 'not root: chroot(2) and mount(2) need it'
    command -v debootstrap >/dev/null || fail 'no debootstrap: apt-get install debootstrap'
    if [ -z "${SYSV_IPC_PRIVATE_MOUNTS:-}" ]; then
        SYSV_IPC_PRIVATE_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
    fi
}

# Install a release in $root, a folder of ~/.cache, if it is not there yet, and
# mount the file systems that programs need.  $log has debootstrap's output.
debian_root() { # NAME RELEASE [DEBOOTSTRAP ARGUMENT]...
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/sysv_ipc release=$2 file mirror
    root=$cache/$1
    log=$root.log
    shift 2
    mirror=$(sed -En 's,^(URIs:|deb) +(https?://[^ ]*/debian)/?( .*)?$,\2,p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed -n 1p) || true
    if [ ! -e "$root/complete" ]; then
        echo "installing Debian $release in $root"
        rm -rf "$root"
        mkdir -p "$cache"
        debootstrap --variant=minbase --include=ca-certificates "$@" "$release" "$root" \
            "${mirror:-http://deb.debian.org/debian}" >"$log" 2>&1 ||
            fail "the installation failed: see $log"
        touch "$root/complete"
    fi
    for file in /etc/resolv.conf /etc/hosts; do
        cat "$file" >"$root$file"
    done
    # unshare --mount, which tests call, wants / to be a mount.
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    show_inside "$PWD"
}

# Make files and folders visible in $root at their own paths.
show_inside() { # PATH...
    local path
    for path in "$@"; do
        if [ -d "$path" ]; then
            mkdir -p "$root$path"
        else
            mkdir -p "$root${path%/*}"
            touch "$root$path"
        fi
        mount --bind "$path" "$root$path"
    done
}
