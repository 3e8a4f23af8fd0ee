using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Hybrid.WebRtc.Stack;

/// <summary>Verifies what servers show over DTLS, as <see cref="SslStream"/> does what they show over TLS.</summary>
internal static class ServerCertificates
{
    /// <summary>id-kp-serverAuth, RFC 5280 §4.2.1.12.</summary>
    private static readonly Oid ServerAuthentication = new("1.3.6.1.5.5.7.3.1");

    /// <summary>Null where the chain is the server's; otherwise why not, for a person to read.</summary>
    /// <param name="serverName">The name, or address in text, that the leaf must be for.</param>
    /// <param name="chain">DER, the leaf first; one at least.</param>
    /// <param name="validation">Whose word is the last; null: the platform's.</param>
    public static string? Verify(string serverName, byte[][] chain, RemoteCertificateValidationCallback? validation)
    {
        var shown = new X509Certificate2Collection();

        try
        {
            foreach (var certificate in chain)
                shown.Add(X509CertificateLoader.LoadCertificate(certificate));

            using var built = new X509Chain();
            built.ChainPolicy.ExtraStore.AddRange(shown);
            built.ChainPolicy.ApplicationPolicy.Add(ServerAuthentication);
            built.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            var errors = built.Build(shown[0]) ? SslPolicyErrors.None : SslPolicyErrors.RemoteCertificateChainErrors;

            if (!shown[0].MatchesHostname(serverName))
                errors |= SslPolicyErrors.RemoteCertificateNameMismatch;

            var isTrusted = validation is null
                ? errors == SslPolicyErrors.None
                : validation(serverName, shown[0], built, errors);

            return isTrusted ? null
                : errors == SslPolicyErrors.None ? "The server's certificate was refused."
                : $"The server's certificate is not trusted: {errors}.";
        }
        catch (Exception e)
        {
            return $"The server's certificate could not be verified: {e.Message}";
        }
        finally
        {
            foreach (var certificate in shown)
                certificate.Dispose();
        }
    }
}
