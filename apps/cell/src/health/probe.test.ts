import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { probe } from './probe.js'

let server: Server
let asked: { url: string | undefined; agent: string | undefined; proto: string | undefined; host: string | undefined }[]
let answer: RequestListener

const target = () => ({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
const http = (endpoint: string) => probe({ type: 'http', endpoint, invocationTimeout: 1 }, target())

beforeEach(async () => {
  asked = []
  server = createServer((request, response) => {
    const { 'user-agent': agent, 'x-forwarded-proto': proto, host } = request.headers
    asked.push({ url: request.url, agent, proto: String(proto), host })
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

describe('the http check', () => {
  it('is content with 200 alone, and says who asks', async () => {
    answer = (_request, response) => response.end('ok')
    expect(await http('/health?deep=1')).toBeUndefined()
    expect(asked).toEqual([
      { url: '/health?deep=1', agent: 'diego-healthcheck', proto: 'https', host: `127.0.0.1:${target().port}` },
    ])
    answer = (_request, response) => response.writeHead(204).end()
    expect(await http('/')).toMatch(/^failed to make HTTP request to '\/' on port \d+: received status code 204 in \d+ms$/)
  })

  it('follows redirects, but never to anybody else', async () => {
    answer = ({ url }, response) => {
      if (url === '/') response.writeHead(302, { location: '/login' }).end()
      else if (url === '/login') response.writeHead(301, { location: 'http://169.254.169.254/latest/meta-data' }).end()
      else response.end('home')
    }
    expect(await http('/')).toBeUndefined()
    expect(asked.map(({ url, host }) => [url, host])).toEqual([
      ['/', `127.0.0.1:${target().port}`],
      ['/login', `127.0.0.1:${target().port}`],
      ['/latest/meta-data', '169.254.169.254'],
    ])
    answer = (_request, response) => response.writeHead(302, { location: '/' }).end()
    expect(await http('/')).toMatch(/stopped after 10 redirects$/)
  })

  it('gives up after its own time, however much is sent meanwhile', async () => {
    answer = () => undefined
    expect(await http('/')).toMatch(/timed out after 1\.00 seconds$/)
    answer = (request) => request.socket.destroy()
    expect(await http('/')).toMatch(/: (connection reset by peer|socket hang up)$/)
    answer = (_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      }
      response.on('drain', more)
      more()
    }
    expect(await http('/')).toBeUndefined()
  })
})

describe('the port check', () => {
  it('is content with a connection, without waiting for a word', async () => {
    const silent = createTcpServer()
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as AddressInfo
    expect(await probe({ type: 'port' }, { host: '127.0.0.1', port })).toBeUndefined()
    await new Promise((resolve) => silent.close(resolve))
    expect(await probe({ type: 'port' }, { host: '127.0.0.1', port })).toBe(
      `failed to make TCP connection to 127.0.0.1:${port}: connection refused`,
    )
  })
})

it('the process check asks nobody', async () => {
  expect(await probe({ type: 'process' }, { host: '127.0.0.1', port: 1 })).toBeUndefined()
})
