using Hybrid.WebRtc.Core;

namespace Hybrid.WebRtc.Benchmarks.Steps;

/// <summary>An RTP packet of 1,200 octets sealed and opened, by each profile that browsers choose.</summary>
internal static class SrtpSteps
{
    private const int Packet = 1200;
    private const int Header = 12;

    public static IEnumerable<Measured> Measure(Setting setting) =>
        [
            .. Measure(setting, SrtpProfile.AeadAes128Gcm, "Gcm", "AES-128-GCM", keySize: 16, saltSize: 12),
            .. Measure(
                setting,
                SrtpProfile.Aes128CmHmacSha1_80,
                "Cm",
                "AES-128-CM and HMAC-SHA1",
                keySize: 16,
                saltSize: 14
            ),
        ];

    private static IEnumerable<Measured> Measure(
        Setting setting,
        SrtpProfile profile,
        string step,
        string label,
        int keySize,
        int saltSize
    )
    {
        var keys = new SrtpKeys(new byte[keySize], new byte[keySize], new byte[saltSize], new byte[saltSize]);
        using var seal = Srtp.sealing(setting.Ciphers, profile, keys, DtlsRole.Client);
        using var open = Srtp.opening(setting.Ciphers, profile, keys, DtlsRole.Server);
        var buffer = new byte[Packet + seal.RtpOverhead];
        buffer[0] = 0x80;
        var sealedPacket = new byte[buffer.Length];
        seal.SealRtp(buffer, Packet, Header, index: 0, cryptex: false);
        buffer.CopyTo(sealedPacket, 0);

        yield return Meter.Repeat(
            $"srtpSeal{step}",
            $"SRTP: sealing 1,200 octets, {label}",
            () => seal.SealRtp(buffer, Packet, Header, index: 0, cryptex: false)
        );
        yield return Meter.Repeat(
            $"srtpOpen{step}",
            $"SRTP: opening them, {label}, a copy included",
            () =>
            {
                sealedPacket.CopyTo(buffer, 0);
                open.OpenRtp(buffer, Header, SrtpStreamModule.fresh);
            }
        );
    }
}
