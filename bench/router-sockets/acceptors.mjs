// acceptors.mjs shared|handed WORKERS: accepts in worker processes, prints its port; each connection gets one answer.
//   shared  the holder binds, the workers accept on the same socket
//   handed  the holder accepts and hands each connection to a worker in turn
import { spawn } from 'node:child_process'
import net from 'node:net'
import { fileURLToPath } from 'node:url'

const [mode, count] = process.argv.slice(2)
const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'
const serve = (socket) => {
  socket.on('error', () => socket.destroy())
  socket.on('data', () => socket.end(ANSWER))
  socket.resume()
}
const start = (role, stdio) =>
  spawn(process.execPath, [fileURLToPath(import.meta.url), role], { stdio: ['ignore', 'inherit', 'inherit', ...stdio] })

switch (mode) {
  case 'accepts':
    net.createServer(serve).listen({ fd: 3 })
    break
  case 'is-handed':
    process.on('message', (_message, socket) => socket && serve(socket))
    break
  case 'shared': {
    // As the router's holder does it.
    const handle = net._createServerHandle('127.0.0.1', 0, 4)
    const name = {}
    handle.getsockname(name)
    for (let i = 0; i < Number(count); i++) start('accepts', [handle.fd])
    setTimeout(() => console.log(name.port), 500)
    setInterval(() => undefined, 1_000_000)
    break
  }
  case 'handed': {
    const workers = Array.from({ length: Number(count) }, () => start('is-handed', ['ipc']))
    let turn = 0
    const server = net.createServer({ pauseOnConnect: true }, (socket) => {
      socket.on('error', () => socket.destroy())
      workers[turn++ % workers.length].send('connection', socket, () => undefined)
    })
    server.listen(0, '127.0.0.1', 4096, () => setTimeout(() => console.log(server.address().port), 500))
    break
  }
}
