#!/usr/bin/env bash
# Makes the examples' clip with ffmpeg: twelve seconds of a flight into the Mandelbrot set, 384x288 at 25 frames a second, a key
# frame each two seconds, so that it may be begun there; and a slow chord that swells once a second, of the same length.
set -euo pipefail
cd "$(dirname "$0")"

quiet=(-hide_banner -loglevel error -y -flags bitexact -fflags +bitexact)
picture="mandelbrot=size=384x288:rate=25:start_scale=2.5:end_scale=0.02:end_pts=300:maxiter=400"

ffmpeg "${quiet[@]}" -f lavfi -i "$picture" -t 12 -threads 1 -c:v libvpx -b:v 140k -g 50 -keyint_min 50 \
    -deadline good -cpu-used 1 -auto-alt-ref 0 -lag-in-frames 0 clip.ivf

chord="0.09*(sin(2*PI*220*t)+sin(2*PI*277.18*t)+sin(2*PI*329.63*t)+0.5*sin(2*PI*440*t))*(0.55-0.45*cos(2*PI*t))"
ffmpeg "${quiet[@]}" -f lavfi -i "aevalsrc=$chord:s=48000:d=12" -c:a libopus -b:a 24k -frame_duration 20 clip.ogg

ls -l clip.*
