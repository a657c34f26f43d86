#!/bin/sh
# A SLURM of this machine alone, for tests: installs Debian's slurm-wlm and munge, writes a configuration, starts them.
#
#     scripts/slurm.sh start DIR     configuration, state and logs under DIR; then: export SLURM_CONF=DIR/slurm.conf
#     scripts/slurm.sh stop DIR      ends what start began
#
# It needs root, and a Debian that reaches its mirror or has the packages. It is no installation for real work: one node,
# no accounting, no cgroups, everything as root.
set -eu

command=${1:?start or stop}
folder=${2:?a folder}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

stop() {
    for name in slurmd slurmctld munged; do
        [ -s "$folder/$name.pid" ] || continue
        number=$(cat "$folder/$name.pid")
        kill "$number" 2>/dev/null || continue
        for _ in $(seq 50); do kill -0 "$number" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$number" 2>/dev/null || true   # slurmd waits for jobs that are stuck
    done
}

if [ "$command" = stop ]; then
    stop
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "slurm.sh: needs root, for munged and slurmd" >&2; exit 3; }
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    policy=/usr/sbin/policy-rc.d   # while it says 101, no service of the packages' own is started
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    (apt-get install -qq -y --no-install-recommends slurm-wlm munge ||
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends slurm-wlm munge; }) >"$folder/install.log" 2>&1 ||
        { echo "slurm.sh: cannot install slurm-wlm and munge, see $folder/install.log" >&2; exit 3; }
fi

cores=$(nproc)
memory=$(free -m | awk '/^Mem:/ {print $2}')
host=$(hostname -s)
mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
chmod 700 "$folder/munge"
head -c 1024 /dev/urandom >"$folder/munge/key"
chmod 400 "$folder/munge/key"

cat >"$folder/slurm.conf" <<CONF
ClusterName=alone
SlurmctldHost=$host
SlurmctldPort=${SLURM_TEST_PORT:-16817}
SlurmdPort=$((${SLURM_TEST_PORT:-16817} + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=60
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$host CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF

stop
chown -R root:root "$folder/munge"
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
export SLURM_CONF="$folder/slurm.conf"
slurmctld -c
slurmd -c

for _ in $(seq 60); do
    case "$(sinfo --noheader --format %t 2>/dev/null)" in idle* | mix* | alloc*) exit 0 ;; esac
    sleep 0.5
done
stop
echo "slurm.sh: SLURM did not come up, see $folder/slurmctld.log and $folder/slurmd.log" >&2
exit 4
