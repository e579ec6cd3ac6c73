// Small backends for the comparison. Modes:
//   files PORT DIR   serves every file of DIR from memory (used when nginx is not installed)
//   sink PORT        reads the whole request body, then answers 200 with 1 KiB on GET or the byte count on POST
import http from 'node:http'
import fs from 'node:fs'
import path from 'node:path'

const [mode, port, dir] = process.argv.slice(2)
if (mode === 'files') {
  const files = new Map(fs.readdirSync(dir).map((n) => ['/' + n, fs.readFileSync(path.join(dir, n))]))
  http
    .createServer({ keepAliveTimeout: 3_600_000 }, (req, res) => {
      const b = files.get(req.url)
      if (!b) {
        res.writeHead(404)
        res.end()
        return
      }
      res.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': b.length })
      res.end(b)
    })
    .listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 })
} else if (mode === 'sink') {
  const page = Buffer.alloc(1024, 97)
  http
    .createServer({ keepAliveTimeout: 3_600_000, requestTimeout: 0 }, (req, res) => {
      let n = 0
      req.on('data', (c) => {
        n += c.length
      })
      req.on('end', () => {
        const b = req.method === 'GET' ? page : Buffer.from(String(n))
        res.writeHead(200, { 'Content-Length': b.length })
        res.end(b)
      })
    })
    .listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 })
} else {
  console.error('usage: backend.mjs files PORT DIR | sink PORT')
  process.exit(2)
}
