#!/usr/bin/env bash
# Whether http://127.0.0.1:PORT/PATH answers 200: health PORT PATH. Without Node, since it is asked every few seconds.
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
read -r -t 2 _ status _ <&3
[ "$status" = 200 ]
