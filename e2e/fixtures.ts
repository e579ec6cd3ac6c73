import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { REPOSITORY } from './platform.js'

/** A throw-away folder with the given files. */
export function folder(files: Readonly<Record<string, string>>): string {
  const path = mkdtempSync(join(tmpdir(), 'bloomery-app-'))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), content)
  }
  return path
}

export const example = (name: string): string => {
  const path = mkdtempSync(join(tmpdir(), 'bloomery-example-'))
  cpSync(join(REPOSITORY, 'examples', name), path, { recursive: true })
  return path
}

/** A small node app without dependencies; `body` is the statement list of its request handler. */
export const nodeApp = (body: string, before = ''): Record<string, string> => ({
  'package.json': JSON.stringify({ name: 'story', version: '1.0.0', private: true, scripts: { start: 'node server.js' } }),
  'server.js': `const http = require('node:http')\n${before}\nhttp.createServer((req, res) => {\n${body}\n}).listen(process.env.PORT)\n`,
})

/** Answers with its index and its version; `/exit` ends it, `/env` shows its environment. */
export const versionedApp = (version: string): Record<string, string> =>
  nodeApp(`
  if (req.url === '/exit') { res.end('bye'); setTimeout(() => process.exit(7), 20); return }
  if (req.url === '/env') return res.end(JSON.stringify(process.env))
  console.log('request ' + req.url)
  res.end('${version} ' + process.env.CF_INSTANCE_INDEX)`)

/**
 * The same with nothing to install, so that it stages in a moment: for tests that are about what runs. Push it with
 * `-b binary_buildpack`. SIGTERM ends it at once, whatever it is doing.
 */
export const tinyApp = (version: string): Record<string, string> => ({
  Procfile: 'web: exec python3 server.py\n',
  'server.py': `import json, os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        if self.path == '/slow':
            time.sleep(0.4)
        answer = json.dumps(dict(os.environ)) if self.path == '/env' else '${version} ' + os.environ['CF_INSTANCE_INDEX']
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        print('request ' + self.path, flush=True)

class Server(ThreadingHTTPServer):
    request_queue_size = 128

Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`,
})
/**
 * Speaks lines over TCP, and over TLS to whoever begins with it: answers each with its name before it. `dial HOST PORT` is answered with
 * what that address says to a greeting.
 */
export function talkingApp(name: string): Record<string, string> {
  const keys = folder({})
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key.pem', '-out', 'cert.pem', '-days', '2', '-subj', '/CN=story'], // prettier-ignore
    { cwd: keys, stdio: 'ignore' },
  )
  return {
    Procfile: 'web: exec python3 server.py\n',
    'key.pem': readFileSync(join(keys, 'key.pem'), 'utf8'),
    'cert.pem': readFileSync(join(keys, 'cert.pem'), 'utf8'),
    'server.py': `import os, socket, socketserver, ssl

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
TLS.load_cert_chain('cert.pem', 'key.pem')

class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            first = self.request.recv(1, socket.MSG_PEEK)
            connection = TLS.wrap_socket(self.request, server_side=True) if first == b'\\x16' else self.request
            for line in connection.makefile('r'):
                connection.sendall(('${name}: ' + self.answer(line.strip()) + '\\n').encode())
        except OSError:
            pass

    def answer(self, line):
        if not line.startswith('dial '):
            return line
        _, host, port = line.split()
        with socket.create_connection((host, int(port)), timeout=10) as other:
            other.sendall(b'hello\\n')
            return 'heard ' + other.makefile('r').readline().strip()

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`,
  }
}

/** How a {@link tinyApp} or a {@link talkingApp} is pushed. */
export const TINY = ['-m', '64M', '-b', 'binary_buildpack'] as const
