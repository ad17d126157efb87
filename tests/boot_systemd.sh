#!/bin/bash
# Boot a real systemd (system instance, PID 1 of its own PID namespace) on a machine whose
# PID 1 is something else, without a second root file system: the host's / is shared, while
# /run, /dev, /dev/shm, /var/log/journal, the cgroup tree and the unit files are its own.
#
#   boot_systemd.sh up   STATE_DIR UNIT_DIR [UNIT_DIR...]   boots; prints "up in N ms, pid P"
#   boot_systemd.sh run  STATE_DIR COMMAND...               runs a command inside (systemctl, kill, ...)
#   boot_systemd.sh down STATE_DIR                          kills it and all that it started
#   boot_systemd.sh can                                     exit 0 if this machine can; else says why not (for a test's skip)
#
# Needs: root (CAP_SYS_ADMIN), systemd >= 250 installed (never booted), util-linux's unshare,
# nsenter and script; a cgroup v2 hierarchy (pure, or at /sys/fs/cgroup/unified) or the right to mount one.
# PM_NETNS=1  gives it a network namespace of its own (ports do not meet the host's).
# PM_V1="memory pids cpu"  those cgroup v1 controllers too (hybrid), where v1 holds them: MemoryMax= and TasksMax= then bite.
# PM_LOG=console  the manager's own lines go to STATE_DIR/console instead of the journal (when it does not boot).
# PM_FRESH="/opt /var/lib"  directories that are empty inside; the host's stay as they are.
# PM_OWN_ETC=1  what is changed in /etc stays inside, and there are no other units in it.
# PM_BASE=... more names of stock units to bring from /lib/systemd/system.
set -eu
verb=$1; [ "$verb" = can ] || { state=$(realpath -m "$2"); shift 2; cg=pm-systemd-$(printf %s "$state" | cksum | cut -d' ' -f1); }
case $verb in
can)
  no(){ echo "cannot boot systemd here: $*"; exit 1; }
  [ "$(id -u)" = 0 ] || no "not root"
  [ -x /lib/systemd/systemd ] || no "no /lib/systemd/systemd"
  for t in unshare nsenter script setsid; do command -v $t >/dev/null || no "no $t"; done
  unshare --mount --pid --cgroup --uts --ipc --fork true 2>/dev/null || no "namespaces are refused"
  r=/sys/fs/cgroup; [ -e $r/cgroup.controllers ] || r=/sys/fs/cgroup/unified
  [ -e $r/cgroup.controllers ] || no "no cgroup v2"
  mkdir $r/pm-systemd-can-$$ 2>/dev/null && rmdir $r/pm-systemd-can-$$ || no "$r is read-only"
  echo yes; exit 0;;
up)
  [ -s "$state/pid" ] && [ -d /proc/"$(cat "$state/pid")" ] && "$0" down "$state" >/dev/null
  mkdir -p "$state"; state=$(cd "$state" && pwd)
  rm -rf "$state"/{base,gen,console,pid}; mkdir -p "$state"/{base,gen}
  # stock units: enough for DefaultDependencies= and for the journal
  for u in basic sysinit sockets timers paths slices shutdown umount local-fs local-fs-pre swap final \
           network network-pre network-online multi-user time-sync nss-user-lookup graphical; do
    [ -e /lib/systemd/system/$u.target ] && cp -L /lib/systemd/system/$u.target "$state/base/"
  done
  ln -sf multi-user.target "$state/base/default.target"
  for u in systemd-journald.service systemd-journald.socket ${PM_BASE:-}; do
    cp -L /lib/systemd/system/$u "$state/base/"; done
  mkdir -p "$state/base/sysinit.target.wants"; ln -sf ../systemd-journald.service "$state/base/sysinit.target.wants/"
  units=; for d in "$@"; do units+="$(cd "$d" && pwd):"; done
  export PM_STATE_DIR=$state PM_UNITS=$units$state/base
  t0=$(date +%s%3N)
  # a cgroup of our own, entered before the cgroup namespace is made, so that it is the root inside
  root2=/sys/fs/cgroup; [ -e $root2/cgroup.controllers ] || root2=/sys/fs/cgroup/unified
  mkdir -p $root2/$cg
  cat > "$state/init.sh" <<'INIT'
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys      # no sysctl of the host's is touched
mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/lock
umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
if [ -n "$PM_V1" ]; then
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup; mkdir /sys/fs/cgroup/{systemd,unified}
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd; mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
  for c in $PM_V1; do mkdir /sys/fs/cgroup/$c; mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c; done
else mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
[ -d /var/log/journal ] && mount -t tmpfs tmpfs /var/log/journal
for p in $PM_FRESH; do mount -t tmpfs -o mode=755 tmpfs "$p"; done
if [ -n "$PM_OWN_ETC" ]; then
  mkdir -p /run/pm-etc; mount -t tmpfs tmpfs /run/pm-etc; mkdir /run/pm-etc/upper /run/pm-etc/work
  mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/pm-etc/upper,workdir=/run/pm-etc/work /etc
  mount -t tmpfs -o mode=755 tmpfs /etc/systemd; mkdir -p /etc/systemd/system
fi
tty=$(readlink /proc/self/fd/0); d=$(mktemp -d -p /run)
mount -t tmpfs -o mode=755 tmpfs "$d"
for n in null zero full random urandom tty; do : > "$d/$n"; mount --bind /dev/$n "$d/$n"; done
mkdir "$d/pts" "$d/shm" "$d/mqueue"; mount --rbind /dev/pts "$d/pts"; ln -s pts/ptmx "$d/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$d/shm"; mount -t mqueue mqueue "$d/mqueue"
ln -s /proc/self/fd "$d/fd"; ln -s /proc/self/fd/0 "$d/stdin"; ln -s /proc/self/fd/1 "$d/stdout"; ln -s /proc/self/fd/2 "$d/stderr"
: > "$d/console"; mount --bind "$tty" "$d/console"
mount --rbind "$d" /dev
[ -n "$PM_NETNS" ] && ip link set lo up
mount --make-rshared /                  # as a container manager does: credentials are mounted by children of systemd's
exec env -i container=pointsman-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
  SYSTEMD_UNIT_PATH="$PM_UNITS" SYSTEMD_GENERATOR_PATH="$PM_STATE_DIR/gen" SYSTEMD_LOG_COLOR=0 \
  /lib/systemd/systemd --system --unit=multi-user.target --log-target=$PM_LOG --show-status=0
INIT
  (
    echo $BASHPID > $root2/$cg/cgroup.procs
    [ -d /sys/fs/cgroup/systemd ] && { mkdir -p /sys/fs/cgroup/systemd/$cg; echo $BASHPID > /sys/fs/cgroup/systemd/$cg/cgroup.procs; }
    for c in ${PM_V1:-}; do mkdir -p /sys/fs/cgroup/$c/$cg; echo $BASHPID > /sys/fs/cgroup/$c/$cg/cgroup.procs; done
    export PM_FRESH=${PM_FRESH:-} PM_OWN_ETC=${PM_OWN_ETC:-} PM_NETNS=${PM_NETNS:-} PM_V1=${PM_V1:-} PM_LOG=${PM_LOG:-journal-or-kmsg}
    exec setsid script -qefc "exec unshare --mount --pid --cgroup --uts --ipc ${PM_NETNS:+--net} --fork --kill-child bash '$state/init.sh'" "$state/console" </dev/null >/dev/null 2>&1
  ) &
  for i in $(seq 400); do
    [ -s "$state/pid" ] || { p=$(cat $root2/$cg/cgroup.procs $root2/$cg/init.scope/cgroup.procs /sys/fs/cgroup/systemd/$cg/init.scope/cgroup.procs 2>/dev/null |
      while read q; do [ "$(cat /proc/$q/comm 2>/dev/null)" = systemd ] && grep -q '^NSpid:.*[[:space:]]1$' /proc/$q/status && echo $q; done | head -1); [ -n "$p" ] && echo $p > "$state/pid"; }
    if [ -s "$state/pid" ]; then
      s=$("$0" run "$state" systemctl is-system-running 2>/dev/null || true)
      case $s in running|degraded) echo "up in $(( $(date +%s%3N) - t0 )) ms, pid $(cat "$state/pid"), $s"; exit 0;; esac
    fi
    sleep .025
  done
  echo "did not boot; console:" >&2; tail -40 "$state/console" >&2; exit 1;;
run)
  p=$(cat "$state/pid"); net=; [ "$(readlink /proc/$p/ns/net)" = "$(readlink /proc/self/ns/net)" ] || net=-n
  exec nsenter -t $p -m -p -C -u -i $net -- "$@";;
down)
  p=$(cat "$state/pid"); kill -9 $p 2>/dev/null || true
  for i in $(seq 100); do [ -d /proc/$p ] || break; sleep .02; done
  for i in $(seq 100); do left=
    for r in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -d $r/$cg ] || continue
      find $r/$cg -depth -type d -exec rmdir {} \; 2>/dev/null || true; [ -d $r/$cg ] && left=1 || true; done
    [ -n "$left" ] || break; sleep .02; done
  rm -f "$state/pid"; echo down;;
esac
