#!/bin/sh
# Run a command of Labelstream as cron wants it: silent when all is well, one line to mail when not.
#
#   scheduled.sh NAME COMMAND...
#
# The command's JSON object is kept as results/NAME.json, what it says meanwhile is added to
# logs/NAME.log, both in the working folder. By its exit status:
#
#   0  done: nothing is said
#   1  the job failed: said at once, for another try would end the same way; the object is kept too
#   2  a service is away, the source is not there yet, or another run of this job is at work: tried
#      again, SCHEDULED_TRIES times in all (4), SCHEDULED_PAUSE seconds apart (900), and then said
set -u

[ $# -ge 2 ] || { echo "scheduled.sh: give a name and a command: scheduled.sh NAME COMMAND..." >&2; exit 2; }
name=$1
shift

umask 077
mkdir -p results logs || exit 2
result=results/$name.json
log=logs/$name.log
said=$(mktemp) || exit 2
trap 'rm -f "$said" "$result.$$"' EXIT
trap 'exit 130' INT TERM

tries=${SCHEDULED_TRIES:-4}
while :; do
    "$@" >"$result.$$" 2>"$said"
    status=$?
    { date; cat "$said"; } >>"$log"
    tries=$((tries - 1))
    if [ "$status" -ne 2 ] || [ "$tries" -le 0 ]; then
        break
    fi
    sleep "${SCHEDULED_PAUSE:-900}"
done

if [ -s "$result.$$" ]; then
    mv "$result.$$" "$result"
fi
if [ "$status" -ne 0 ]; then
    # An error is one line, the last; everything before it is progress.
    echo "$name: status $status: $(tail -n 1 "$said")" >&2
fi
exit "$status"
