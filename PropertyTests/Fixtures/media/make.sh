#!/usr/bin/env bash
# Makes the clips of this folder with ffmpeg: three seconds of 320x240 at 25 frames a second, one second each of red
# (0xC82828), green (0x28A03C) and blue (0x3246C8), with grain, so that key frames fill several packets, and a small white square
# that walks through the picture. A key frame begins each second: a clip may be looped, and joined at any second. The sound is a tone of 440 Hz, silent for the last half second.
set -euo pipefail
cd "$(dirname "$0")"

quiet=(-hide_banner -loglevel error -y)
colours="color=c=0xC82828:s=320x240:r=25:d=1[r];color=c=0x28A03C:s=320x240:r=25:d=1[g];color=c=0x3246C8:s=320x240:r=25:d=1[b]"
square="color=c=white:s=24x24:r=25:d=3[s]"
picture="$colours;$square;[r][g][b]concat=n=3,format=yuv420p,noise=alls=6:all_seed=7[p];[p][s]overlay=x='4*n':y=108:format=yuv420[out]"

video() {
    local file=$1
    shift
    ffmpeg "${quiet[@]}" -filter_complex "$picture" -map "[out]" -an -threads 1 -g 25 -keyint_min 25 -flags bitexact -fflags +bitexact "$@" "$file"
}

video vp8.ivf -c:v libvpx -b:v 120k -deadline good -cpu-used 2 -auto-alt-ref 0 -lag-in-frames 0
video vp9.ivf -c:v libvpx-vp9 -b:v 120k -deadline realtime -cpu-used 6 -error-resilient 1 -auto-alt-ref 0 -lag-in-frames 0
video av1.ivf -c:v libaom-av1 -b:v 120k -usage realtime -cpu-used 8 -lag-in-frames 0
video h264.h264 -c:v libx264 -profile:v baseline -level 3.1 -bf 0 -tune zerolatency -crf 32 -x264-params scenecut=0:bframes=0

ffmpeg "${quiet[@]}" -f lavfi -i "sine=frequency=440:sample_rate=48000:duration=2.5,apad=pad_dur=0.5" \
    -flags bitexact -fflags +bitexact -c:a libopus -b:a 24k -ac 2 -frame_duration 20 opus.ogg

ls -l *.ivf *.h264 *.ogg
