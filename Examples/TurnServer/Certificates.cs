using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Hybrid.WebRtc.Examples;

/// <summary>What the TLS listener shows.</summary>
internal static class Certificates
{
    /// <summary>From PEM files, with the chain that the first holds; without files one for this machine that no authority has signed.</summary>
    public static SslServerAuthenticationOptions Load(FileInfo? certificate, FileInfo? key)
    {
        if (certificate is null)
            return new SslServerAuthenticationOptions { ServerCertificate = SelfSigned() };

        var chain = new X509Certificate2Collection();
        chain.ImportFromPemFile(certificate.FullName);
        using var leaf = X509Certificate2.CreateFromPemFile(certificate.FullName, key?.FullName);

        return new SslServerAuthenticationOptions
        {
            ServerCertificateContext = SslStreamCertificateContext.Create(Usable(leaf), chain, offline: true),
        };
    }

    private static X509Certificate2 SelfSigned()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        var now = DateTimeOffset.UtcNow;
        using var made = request.CreateSelfSigned(now.AddHours(-1), now.AddDays(30));
        return Usable(made);
    }

    /// <summary>Windows' TLS takes no key that lives in memory alone, so it makes a detour through PKCS #12.</summary>
    private static X509Certificate2 Usable(X509Certificate2 certificate) =>
        X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
}
