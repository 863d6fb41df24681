# Finds or takes in the program that carries out orders on a machine, and becomes it. Runs by any POSIX shell. No letter in it
# means something to the shells between here and there: no single quote, no backslash, no exclamation mark.
# Arguments: mode, mark, digest, length, folders of programs, folders of units, then the arguments of the program.
set -f
umask 022
mode=$1 mark=$2 digest=$3 length=$4 folders=$5 units=$6
shift 6
name=staith-machine-$digest
temp=
say() { echo "$mark $*"; }
clean() { if [ -n "$temp" ]; then rm -f "$temp"; fi; }
if [ -z "$folders" ]; then
  if [ "$(id -u)" = 0 ]; then folders=/usr/local/lib/staith:/var/lib/staith; else folders=$HOME/.local/lib/staith; fi
fi
# Whether a file is the program: by its hash where there is a program for that, else by what it says of itself.
genuine() {
  if command -v sha256sum >/dev/null 2>&1; then
    seen=$(sha256sum <"$1") || return 1
    [ "${seen%% *}" = "$digest" ]
  else
    [ "$("$1" --self-digest 2>/dev/null)" = "$digest" ]
  fi
}
# What the file system says of the folder and of the program in it; nothing where it can not be asked for all of that.
facts() { stat -c "%a %u %d %i %s %y %z" "$1" "$1/$name" 2>/dev/null; }
# Whether the program was found genuine since the machine was started, and neither it nor its folder was touched since. Believed only
# where nobody else may write.
proven() {
  note=$1/.proven-$digest
  [ -n "$boot" ] && [ -O "$note" ] && [ -O "$1" ] && [ -O "$1/$name" ] || return 1
  now=$(facts "$1") || return 1
  case $now in "755 "* | "2755 "* | "700 "* | "2700 "*) ;; *) return 1 ;; esac
  { read -r first; read -r second; read -r third; } <"$note" || return 1
  [ "$first
$second
$third" = "$boot
$now" ]
} 2>/dev/null
# Proves it, and writes that down for the next time. What it was like is asked first: what is changed while it is read has not
# been proven.
prove() {
  note=$1/.proven-$digest
  { [ -O "$note" ] || (set -C; : >"$note"); } 2>/dev/null
  now=$(facts "$1") || now=
  genuine "$1/$name" || return 1
  if [ -n "$now" ] && [ -O "$note" ]; then echo "$boot
$now" >"$note"; fi 2>/dev/null
  return 0
}
boot=
{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
split=:
old=$IFS
IFS=$split
if [ "$mode" = start ]; then
  damaged=
  for folder in $folders; do
    program=$folder/$name
    if [ -f "$program" ] && [ -x "$program" ]; then
      IFS=$old
      if proven "$folder" || prove "$folder"; then
        say running
        exec "$program" "$@"
      fi
      damaged=$program
    fi
  done
  IFS=$old
  say absent "$(uname -s)" "$(uname -m)" "$damaged"
  exit 0
fi
found= why=
for folder in $folders; do
  IFS=$old
  if mkdir -p "$folder" 2>/dev/null && [ -w "$folder" ]; then
    # A file without a first line of its own is run by the shell itself, unless the mount forbids to run anything.
    temp=$folder/.probe-$$
    if echo "exit 0" >"$temp" && chmod 700 "$temp"; then
      if "$temp" 2>/dev/null; then found=$folder; else why="$why $folder is on a mount where nothing may be run (noexec);"; fi
    else
      why="$why $folder takes no file;"
    fi
    clean
  else
    why="$why $folder can not be written to;"
  fi
  [ -n "$found" ] && break
done
IFS=$old
if [ -z "$found" ]; then
  say nowhere "$why"
  exit 0
fi
temp=$found/.upload-$digest-$$
trap clean EXIT
trap "exit 1" HUP INT TERM
if cat >"$temp" && chmod 755 "$temp"; then :; else
  say failed "writing to $found did not succeed"
  exit 0
fi
got=$(wc -c <"$temp")
if [ "$got" -ne "$length" ]; then
  say failed "of $length bytes, $((got)) are in $found"
  exit 0
fi
if genuine "$temp"; then :; else
  say failed "what came to $found is not what was sent"
  exit 0
fi
if mv -f "$temp" "$found/$name"; then :; else
  say failed "renaming in $found did not succeed"
  exit 0
fi
temp=
# What a unit names, what runs, and what came within a day (another version of Staith may be at work now) is kept; so is
# everything where it can not be told.
used() {
  command -v grep >/dev/null 2>&1 && command -v find >/dev/null 2>&1 || return 0
  [ -n "$(find "$1" -mtime +0 2>/dev/null)" ] || return 0
  for place in $(IFS=$split; echo $units); do
    grep -rqsF "${1##*/}" "$place" && return 0
  done
  set +f
  ls -l /proc/[0-9]*/exe 2>/dev/null | grep -qF " $1" && return 0
  return 1
}
set +f
for file in "$found"/staith-machine-* "$found"/.upload-* "$found"/.probe-* "$found"/.proven-*; do
  case $file in "$found/$name") continue ;; esac
  [ -f "$file" ] || continue
  used "$file" || rm -f "$file"
done
say stored "$found"
