# vitro on a terminal: typed at by a program, because a test has nobody to type.
. "$(dirname "$0")/lib.sh"
python3 "$(dirname "$0")/terminal_checks.py" "$vitro"
