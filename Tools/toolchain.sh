# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the other tools: finds Swift and runs it as the owner of the build directory.

SWIFT_MINIMUM=6.2

# Prints the directory of a Swift that is new enough: in PATH, or in the usual places, which sudo takes out of PATH.
find_swift() {
    local home candidate version seen=""
    home=$(getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6)
    for candidate in "$(command -v swift || true)" /opt/swift*/usr/bin/swift \
        /usr/local/swift/usr/bin/swift /usr/libexec/swift/*/bin/swift "$home"/.local/share/swiftly/bin/swift \
        "$home"/.swiftly/bin/swift; do
        [ -x "$candidate" ] || continue
        version=$("$candidate" --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
        if [ -n "$version" ] && at_least "$version" "$SWIFT_MINIMUM"; then
            dirname "$candidate"
            return
        fi
        seen="$seen
  $candidate: ${version:-does not run}"
    done
    echo "Swift $SWIFT_MINIMUM or later is needed; get it from https://www.swift.org/install/linux/ and put it in PATH." >&2
    if [ -n "$seen" ]; then echo "Found only:$seen" >&2; fi
    return 1
}

# at_least VERSION MINIMUM
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# Runs a command as the person behind sudo, so that the build directory stays theirs; as root when root owns it.
as_owner() {
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] &&
        [ "$(stat -c %U .)" = "$SUDO_USER" ] && { [ ! -e .build ] || [ "$(stat -c %U .build)" = "$SUDO_USER" ]; }; then
        runuser -u "$SUDO_USER" -- env PATH="$PATH" HOME="$(getent passwd "$SUDO_USER" | cut -d: -f6)" "$@"
    else
        "$@"
    fi
}
