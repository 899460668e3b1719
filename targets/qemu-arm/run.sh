#!/bin/sh
# Runs the firmware in QEMU: `cargo run --release -- network=farm reading=10`, or `sh run.sh ELF [SETTING…]`.
# NIC: what QEMU's network device is connected to. Default: all boards of this machine share one virtual cable, without root.
set -eu
elf=$1
shift
settings=enable=on,target=native,arg=butter
for setting in "$@"; do settings=$settings,arg=$setting; done
# Two boards on a cable need two addresses.
mac=$(printf '52:54:00:%02x:%02x:%02x' $(($$ / 65536 % 256)) $(($$ / 256 % 256)) $(($$ % 256)))
nic=${NIC:-socket,mcast=239.9.9.9:4001,localaddr=127.0.0.1}
run() {
    qemu-system-arm -M mps2-an385 -display none -monitor none -serial none -kernel "$elf" \
        -semihosting-config "$settings" -nic "$nic,model=lan9118,mac=$mac"
}
if command -v defmt-print >/dev/null; then
    run | defmt-print -e "$elf"
else
    echo "defmt-print is missing, so nothing could be read: cargo install defmt-print" >&2
    exit 1
fi
