using System.Security.Cryptography;

namespace Hybrid.WebRtc.Examples;

/// <summary>A file that is arriving: <c>NAME.part</c> until its hash has proved right.</summary>
internal sealed class IncomingFile : IDisposable
{
    private readonly FileStream _content;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly long _size;
    private readonly TaskCompletionSource _done = new();
    private Action<long> _progress = _ => { };

    private IncomingFile(string path, long size)
    {
        Path = path;
        _size = size;
        _content = new FileStream(path + ".part", FileMode.Create, FileAccess.Write);
        _ = Bar.ShowAsync(
            System.IO.Path.GetFileName(path),
            size,
            progress =>
            {
                _progress = progress;
                return _done.Task;
            }
        );
    }

    /// <summary>Where it will be.</summary>
    public string Path { get; }

    public static IncomingFile Begin(DirectoryInfo into, Header? header)
    {
        // The name is the peer's: its directories do not count, and nothing that is there is overwritten.
        var name = System.IO.Path.GetFileName(header?.Name.Replace('\\', '/'));

        if (header is not { Size: >= 0 } || string.IsNullOrWhiteSpace(name) || name is "." or "..")
            throw new TransferException("The sender gave no usable file name and size.");

        into.Create();
        var path = System.IO.Path.Combine(into.FullName, name);
        return File.Exists(path)
            ? throw new TransferException($"{path} exists already.")
            : new IncomingFile(path, header.Size);
    }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        if (_content.Length + bytes.Length > _size)
            throw new TransferException("The sender sends more than it said.");

        _content.Write(bytes);
        _hash.AppendData(bytes);
        _progress(bytes.Length);
    }

    /// <summary>Puts the file under its name if it is what the sender sent; answers its hash.</summary>
    public string End(string? expected)
    {
        var length = _content.Length;
        var sha256 = Convert.ToHexStringLower(_hash.GetHashAndReset());
        Dispose();

        if (length != _size || sha256 != expected)
        {
            File.Delete(Path + ".part");
            throw new TransferException(
                $"It arrived changed: {length} of {_size} octets, SHA-256 {sha256}, not {expected}."
            );
        }

        File.Move(Path + ".part", Path);
        return sha256;
    }

    public void Dispose()
    {
        _content.Dispose();
        _hash.Dispose();
        _done.TrySetResult();
    }
}
