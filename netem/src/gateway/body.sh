set -eu

# What was there before. Another network namespace may have a device of the same name.
SAVED="/run/netem-tc-$(readlink /proc/self/ns/net | tr -dc 0-9)-$DEV"

fail() { echo "netem tc: $*" >&2; exit 1; }

# Tries commands where they touch nothing: in a network namespace of their own.
kernel_takes() { unshare -n sh -ec "$1" >/dev/null 2>&1; }

need_tools() {
    command -v tc >/dev/null && command -v ip >/dev/null ||
        fail "tc and ip are missing: install iproute2 (apt-get install iproute2, dnf install iproute-tc)"
    [ "$(id -u)" = 0 ] || fail "needs root"
}

is_there() { ip link show dev "$1" >/dev/null 2>&1; }

need() {
    need_tools
    for dev in $DEV $LAN_DEVS $DELAY_DEV; do
        is_there "$dev" || fail "there is no interface $dev here"
    done
}

# Kind and handle of a device's root queue, as in "htb 1:".
root_of() { tc qdisc show dev "$1" root 2>/dev/null | sed -n '1s/^qdisc \([^ ]* [^ ]*\) .*/\1/p'; }

# Whether `build` made the queues of $DEV. Others use these handles too, also in the place
# of what it made: all must be of its tree, and without a saved state the whole tree.
is_ours() {
    root= bulk=
    while read -r line; do
        case "$line" in
            "qdisc htb 1: root "*" default 0x20 "* | "qdisc htb 1: root "*" default 20 "*) root=yes ;;
            "qdisc bfifo 20: parent 1:20 "*) bulk=yes ;;
            "qdisc pfifo 10: parent 1:10 "*) ;;
            "class htb 1:1 root "* | "class htb 1:"[12]"0 parent 1:1 "*) ;;
            # Of what comes in, and no part of the tree.
            "qdisc ingress "* | "qdisc clsact "*) ;;
            *) return 1 ;;
        esac
    done <<EOF
$(tc qdisc show dev "$DEV" 2>/dev/null && tc class show dev "$DEV")
EOF
    [ -n "$root" ] && { [ -n "$bulk" ] || [ -e "$SAVED" ]; }
}

# Whether `build` delays on this device.
is_our_delay() {
    DELAYED=
    [ ! -e "$SAVED" ] || . "$SAVED"
    [ "$1" = "$DELAYED" ]
}

# A queue that somebody else set could not be restored. The kernel's own has handle 0.
refuse_others_queue() {
    case "$(root_of "$1")" in
        "" | *" 0:") ;;
        *) fail "$1 has a queue that netem tc did not set ($(root_of "$1")); to do without it: tc qdisc del dev $1 root" ;;
    esac
}

# Says what will and won't work; refuses only what makes the rest pointless.
check() {
    need
    # Of this namespace, which /sys need not show.
    has=$(ip -o link show dev "$DEV" | sed -n 's/.* mtu \([0-9]*\).*/\1/p')
    [ "$has" -le "$MTU" ] ||
        fail "$DEV has an MTU of $has, the script was written for $MTU: write it anew with --mtu $has"
    is_ours || refuse_others_queue "$DEV"
    [ -z "$DELAY_DEV" ] || is_our_delay "$DELAY_DEV" || refuse_others_queue "$DELAY_DEV"
    if kernel_takes true; then
        kernel_takes 'tc qdisc add dev lo root handle 1: htb' ||
            fail "this kernel has no HTB (CONFIG_NET_SCH_HTB, module sch_htb)"
        kernel_takes 'tc qdisc add dev lo root handle 1: htb
            tc filter add dev lo parent 1: protocol ip u32 match ip dsfield 0xb8 0xfc flowid 1:1' ||
            fail "this kernel has no u32 filter (CONFIG_NET_CLS_U32, module cls_u32)"
        if [ -n "$DELAY_DEV" ]; then
            kernel_takes 'tc qdisc add dev lo root netem delay 1ms' ||
                fail "this kernel has no netem (CONFIG_NET_SCH_NETEM, module sch_netem): write the script without --delay"
        fi
    else
        echo "not tested: HTB, u32 and netem (no unshare, or it is not allowed)"
    fi
    command -v ethtool >/dev/null || [ -z "$LAN_DEVS" ] ||
        echo "warning: ethtool is missing, GRO stays on at $LAN_DEVS: merged packets of up to 64 KB pass as one"
    [ -n "$LAN_DEVS" ] ||
        echo "note: without --lan-dev GRO stays on; right only if the gateway forwards for nobody"
    root=$(tc qdisc show dev "$DEV" root | head -n 1)
    echo "ready: $DEV (now: ${root:-no queue})"
}

gso_max_segs() { ip -d link show dev "$1" | sed -n 's/.* gso_max_segs \([0-9]*\).*/\1/p'; }

# What a device has that nobody changed; older kernels don't tell.
gso_most_segs() {
    most=$(ip -d link show dev "$1" | sed -n 's/.* tso_max_segs \([0-9]*\).*/\1/p')
    echo "${most:-65535}"
}

has_gro() { ethtool -k "$1" 2>/dev/null | grep -q '^generic-receive-offload: on'; }

# One match of a filter for each class byte.
match_classes() {
    for class in $CLASSES; do
        tc filter add dev "$DEV" parent 1: protocol ip prio 1 u32 match ip dsfield "$class" 0xfc flowid 1:10
        tc filter add dev "$DEV" parent 1: protocol ipv6 prio 2 u32 match ip6 priority "$class" 0xfc flowid 1:10
    done
}

# Without ARP and neighbor discovery nothing is sent at all, marked or not.
match_neighbors() {
    for type in 133 134 135 136 137; do
        tc filter add dev "$DEV" parent 1: protocol ipv6 prio 3 u32 \
            match ip6 protocol 58 0xff match u8 "$type" 0xff at 40 flowid 1:10
    done
    tc filter add dev "$DEV" parent 1: protocol arp prio 4 u32 match u32 0 0 at 0 flowid 1:10
}

build() {
    tc qdisc add dev "$DEV" root handle 1: htb default 20
    tc class add dev "$DEV" parent 1: classid 1:1 htb \
        rate "${RATE}bit" ceil "${RATE}bit" burst "$BURST" cburst "$BURST" quantum "$FRAME"
    # Its own rate is about the link's: HTB serves whoever is below its own rate before
    # anyone who borrows, whatever prio says.
    tc class add dev "$DEV" parent 1:1 classid 1:10 htb prio 0 \
        rate "${PRIORITY_RATE}bit" ceil "${RATE}bit" burst "$BURST" cburst "$BURST" quantum "$FRAME"
    tc class add dev "$DEV" parent 1:1 classid 1:20 htb prio 1 \
        rate "${BULK_RATE}bit" ceil "${RATE}bit" burst "$BURST" cburst "$BURST" quantum "$FRAME"
    tc qdisc add dev "$DEV" parent 1:10 handle 10: pfifo limit 1000
    tc qdisc add dev "$DEV" parent 1:20 handle 20: bfifo limit "$BULK_BUFFER"
    match_classes
    match_neighbors
    # A batch of up to 64 KB would pass the queue as one packet.
    ip link set dev "$DEV" gso_max_segs 1
    if command -v ethtool >/dev/null; then
        for dev in $LAN_DEVS; do ethtool -K "$dev" gro off; done
    fi
    # Never below the shaper: the delay would hold back its queue.
    [ -z "$DELAY_DEV" ] ||
        tc qdisc replace dev "$DELAY_DEV" root netem delay "${DELAY_US}us" limit "$DELAY_PACKETS"
}

apply() {
    check
    # With half of it set up, nothing is better. A signal is noted, and ends `build` or what
    # it runs: the undoing is for the end alone, where nothing can come in between.
    CODE=1 CAUSE=
    trap give_up EXIT
    trap 'CODE=130 CAUSE="interrupted: "' INT
    trap 'CODE=143 CAUSE="terminated: "' TERM
    trap 'CODE=129 CAUSE="hung up: "' HUP
    # Perhaps for other interfaces.
    undo
    {
        echo "GSO=$(gso_max_segs "$DEV")"
        echo "GRO='$(for dev in $LAN_DEVS; do has_gro "$dev" && printf '%s ' "$dev"; done || true)'"
        echo "DELAYED='$DELAY_DEV'"
    } >"$SAVED"
    build
    [ "$CODE" = 1 ] || exit
    trap - EXIT
    echo "applied to $DEV: ${RATE} bit/s, class bytes $CLASSES first"
}

give_up() {
    trap '' INT TERM HUP
    trap - EXIT
    # Every step of it, whichever fails.
    undo || :
    echo "netem tc: ${CAUSE}nothing was applied" >&2
    exit "$CODE"
}

show() {
    need
    tc -s qdisc show dev "$DEV"
    tc -s class show dev "$DEV"
    tc filter show dev "$DEV"
    [ -z "$DELAY_DEV" ] || tc -s qdisc show dev "$DELAY_DEV"
}

# Takes back what `build` did, all or half of it.
undo() {
    [ -e "$SAVED" ] || is_ours || return 0
    if [ -e "$SAVED" ]; then
        . "$SAVED"
    else
        # What the options say, and the device.
        GSO=$(gso_most_segs "$DEV") GRO= DELAYED=$DELAY_DEV
    fi
    if is_ours; then tc qdisc del dev "$DEV" root; fi
    case "${DELAYED:+$(root_of "$DELAYED")}" in
        "netem "*) tc qdisc del dev "$DELAYED" root ;;
    esac
    # Devices may be gone by now, or others have their names, also those of a network
    # namespace that was given the number of one that is gone: they have what is theirs.
    if [ -n "$GSO" ] && is_there "$DEV"; then
        case "$(gso_max_segs "$DEV")" in
            1 | "") ip link set dev "$DEV" gso_max_segs "$GSO" ;;
        esac
    fi
    for dev in $GRO; do
        if is_there "$dev"; then ethtool -K "$dev" gro on; fi
    done
    rm -f "$SAVED"
}

remove() {
    need_tools
    is_there "$DEV" || [ -e "$SAVED" ] || fail "there is no interface $DEV here"
    # Half of it undone is no better.
    trap '' INT TERM HUP
    if ! is_there "$DEV"; then
        undo
        echo "$DEV is gone, and its queues with it; what else was kept of it is undone"
    elif [ -e "$SAVED" ] || is_ours; then
        undo
        echo "removed from $DEV"
        case "$(root_of "$DEV")" in
            "" | *" 0:") ;;
            *) echo "its queue stays, which netem tc did not set ($(root_of "$DEV")); to do without it: tc qdisc del dev $DEV root" ;;
        esac
    else
        echo "nothing of netem's on $DEV"
    fi
}

case "${1:-}" in
    check | apply | show | remove) "$1" ;;
    *) fail "say check, apply, show or remove" ;;
esac
