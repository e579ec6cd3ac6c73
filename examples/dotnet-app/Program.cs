using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading.Tasks;

/// <summary>A small web server on sockets alone: it needs no package, and builds for every line of .NET.</summary>
public static class Program
{
    public static void Main()
    {
        string port = Environment.GetEnvironmentVariable("PORT") ?? "8080";
        TcpListener listener = new TcpListener(IPAddress.Any, int.Parse(port));
        listener.Start();
        while (true)
        {
            TcpClient client = listener.AcceptTcpClient();
            Task.Run(() => Answer(client));
        }
    }

    private static void Answer(TcpClient client)
    {
        using (client)
        using (NetworkStream stream = client.GetStream())
        {
            try
            {
                StreamReader reader = new StreamReader(stream, Encoding.ASCII);
                string line = reader.ReadLine();
                while (!string.IsNullOrEmpty(line))
                {
                    line = reader.ReadLine();
                }
                string instance = Environment.GetEnvironmentVariable("CF_INSTANCE_INDEX") ?? "0";
                string text = "Hello from dotnet-app, instance " + instance + ", .NET " + Environment.Version + "\n";
                string head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: ";
                byte[] answer = Encoding.ASCII.GetBytes(head + text.Length + "\r\n\r\n" + text);
                stream.Write(answer, 0, answer.Length);
            }
            catch (IOException)
            {
                // Whoever asked has gone away.
            }
        }
    }
}
