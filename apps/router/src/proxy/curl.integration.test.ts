import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createAuthority, issueServerCertificate } from '@bloomery/pki'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { startBackend, startPlane, type TestPlane } from './data-plane.fixture.js'

const CONTENT = randomBytes(300_000)
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const closers: (() => unknown)[] = []
let plane: TestPlane
let folder: string
let connections = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bloomery-curl-'))
  closers.push(() => rmSync(folder, { recursive: true }))
  const authority = await createAuthority({ name: 'test' })
  const certificate = { names: ['app.test'], ...(await issueServerCertificate(authority, ['app.test'])) }
  writeFileSync(join(folder, 'ca.pem'), authority.certificatePem)
  writeFileSync(join(folder, 'upload'), CONTENT)
  const backend = await startBackend((message, response) => {
    const { url = '', method = '', headers } = message
    if (url === '/file') {
      response.setHeader('accept-ranges', 'bytes')
      const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '')
      if (!range)
        return void response.writeHead(200, { 'content-length': CONTENT.length }).end(method === 'HEAD' ? undefined : CONTENT)
      const part = CONTENT.subarray(Number(range[1]), Number(range[2]) + 1)
      return void response.writeHead(206, { 'content-range': `bytes ${range[1]}-${range[2]}/${CONTENT.length}` }).end(part)
    }
    if (url === '/hints') {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' })
      return void setTimeout(() => response.end('hinted'), 20)
    }
    if (url === '/twice') {
      for (const name of ['X-Content-Type-Options', 'Expires', 'Age', 'X-Any']) response.setHeader(name, ['1', '2'])
      return void response.end('twice')
    }
    if (url === '/trailers') {
      response.writeHead(200, { Trailer: 'X-Sum' })
      response.write('body')
      response.addTrailers({ 'X-Sum': 'seven' })
      return void response.end()
    }
    const hash = createHash('sha256')
    message.on('data', (chunk: Buffer) => hash.update(chunk))
    message.on('end', () =>
      response.end(JSON.stringify({ method, url, headers, sha: hash.digest('hex'), trailers: message.trailers })),
    )
  })
  backend.server.on('connection', () => connections++)
  backend.server.on('checkContinue', (message, response) => {
    if (message.url === '/refuse') return void response.writeHead(413).end('too much')
    response.writeContinue()
    backend.server.emit('request', message, response)
  })
  closers.push(backend.close)
  const http2 = createHttp2Server((message, response) => {
    response.setHeader('x-seen', String(message.headers['range']))
    message.resume().on('end', () => response.end(`${message.method} ${message.url} ${message.httpVersion}`))
  })
  await new Promise<void>((resolve) => http2.listen(0, '127.0.0.1', resolve))
  closers.push(() => http2.close())
  plane = await startPlane({ certificate })
  closers.push(plane.close)
  const [one, two] = [
    anEndpoint({ port: backend.port }),
    anEndpoint({ port: (http2.address() as AddressInfo).port, protocol: 'http2' }),
  ]
  plane.table.change([aRoute('app.test', [one]), aRoute('app.test/h2', [two])], [], { epoch: '1', revision: 1 })
})
afterAll(async () => {
  for (const close of closers.reverse()) await close()
})

const plain = (path = ''): string => `http://app.test:${plane.port}${path}`
const secure = (path = ''): string => `https://app.test:${plane.httpsPort}${path}`
async function curl(...args: string[]): Promise<string> {
  const resolve = [plane.port, plane.httpsPort].flatMap((port) => ['--resolve', `app.test:${port}:127.0.0.1`])
  const common = [
    '--silent',
    '--show-error',
    '--max-time',
    '20',
    '--noproxy',
    '*',
    '--cacert',
    join(folder, 'ca.pem'),
    ...resolve,
  ]
  const { stdout } = await promisify(execFile)('curl', [...common, ...args], { maxBuffer: 16 * 1024 * 1024, encoding: 'latin1' })
  return stdout
}
const echoed = (text: string): { method: string; url: string; headers: Record<string, string>; sha: string } =>
  JSON.parse(text) as ReturnType<typeof echoed>
const VERSIONS = [['--http1.0'], ['--http1.1'], ['--http2']] as const

describe.each(VERSIONS)('curl %s', (version) => {
  const url = (path: string): string => (version === '--http2' ? secure(path) : plain(path))

  it('uploads', async () => {
    expect(echoed(await curl(version, '-T', join(folder, 'upload'), url('/up'))).sha).toBe(sha(CONTENT))
    const put = ['-X', 'PUT', '--data-binary', `@${join(folder, 'upload')}`]
    expect(echoed(await curl(version, ...put, url('/up')))).toMatchObject({ method: 'PUT', sha: sha(CONTENT) })
  })

  it('downloads, whole and in ranges, and asks for the head alone', async () => {
    const path = join(folder, 'down')
    await curl(version, '-o', path, url('/file'))
    expect(sha(readFileSync(path))).toBe(sha(CONTENT))
    await curl(version, '-o', path, '--range', '1000-1999', url('/file'))
    expect(readFileSync(path).equals(CONTENT.subarray(1_000, 2_000))).toBe(true)
    expect(await curl(version, '--head', url('/file'))).toMatch(
      /^HTTP\/\S+ 200.*\r\n[^]*content-length: 300000\r\n[^]*\r\n\r\n$/i,
    )
  })

  it('takes paths as they are', async () => {
    expect(echoed(await curl(version, '--path-as-is', url('/a/../b/./c//d?x=%2e#f'))).url).toBe('/a/../b/./c//d?x=%2e')
    expect(await curl(version, '--path-as-is', '-o', '/dev/null', '-w', '%{http_code}', url('//app.test/x'))).toBe('200')
  })

  it('gets fields that are there twice', async () => {
    expect(await curl(version, '-i', url('/twice'))).toMatch(/^HTTP\/\S+ 200[^]*twice$/)
    const text = await curl(
      version,
      '-H',
      'Range: bytes=0-1',
      '-H',
      'range: bytes=2-3',
      '-H',
      'Age: 1',
      '-H',
      'age: 2',
      url('/h2'),
    )
    expect(text).toBe('GET /h2 2.0')
    // The router is still there.
    expect(await curl(version, url('/h2'))).toBe('GET /h2 2.0')
  })
})

describe('curl', () => {
  it('waits for 100 Continue with a large body, and is spared the body by a refusal', async () => {
    const large = ['-H', 'Expect: 100-continue', '--data-binary', `@${join(folder, 'upload')}`]
    expect(echoed(await curl('--http1.1', ...large, plain('/up'))).sha).toBe(sha(CONTENT))
    expect(echoed(await curl('--http2', ...large, secure('/up'))).sha).toBe(sha(CONTENT))
    expect(await curl('--http1.1', ...large, '-w', ' %{http_code} %{size_upload}', plain('/refuse'))).toBe('too much 413 0')
  })

  it('sees early hints before the answer, by HTTP/1.1 and HTTP/2', async () => {
    const hinted = /^HTTP\/\S+ 103[^]*?link: <\/style.css>; rel=preload\r\n\r\nHTTP\/\S+ 200[^]*hinted$/i
    expect(await curl('--http1.1', '-i', plain('/hints'))).toMatch(hinted)
    expect(await curl('--http2', '-i', secure('/hints'))).toMatch(hinted)
    expect(await curl('--http1.0', '-i', plain('/hints'))).not.toContain('103')
  })

  it('sends chunks, and gets trailers', async () => {
    const chunked = ['-H', 'Transfer-Encoding: chunked', '--data-binary', `@${join(folder, 'upload')}`]
    const seen = echoed(await curl('--http1.1', ...chunked, plain('/up')))
    expect([seen.sha, seen.headers['transfer-encoding']]).toEqual([sha(CONTENT), 'chunked'])
    expect(await curl('--http1.1', '--raw', '-H', 'TE: trailers', plain('/trailers'))).toMatch(
      /body\r\n0\r\nX-Sum: seven\r\n\r\n$/,
    )
    expect(await curl('--http1.1', '-D', '-', plain('/trailers'))).toContain('X-Sum: seven')
  })

  it('keeps a connection for many requests, and ends it when it says so', async () => {
    const before = connections
    const many = await curl(
      '--http1.1',
      '-w',
      '%{num_connects} ',
      '-o',
      '/dev/null',
      plain('/[1-5]'),
      ...Array.from({ length: 4 }, () => ['-o', '/dev/null']).flat(),
    )
    expect(many).toBe('1 0 0 0 0 ')
    expect(connections - before).toBeLessThanOrEqual(1)
    const closing = ['-H', 'Connection: close', '-o', '/dev/null', '-o', '/dev/null']
    expect(await curl('--http1.1', ...closing, '-w', '%{num_connects} ', plain('/[1-2]'))).toBe('1 1 ')
  })

  it('may take the router for a proxy in the form of its requests, but not for a tunnel', async () => {
    const proxy = ['--noproxy', '', '--proxy', `http://127.0.0.1:${plane.port}`]
    expect(echoed(await curl(...proxy, 'http://app.test/x?y'))).toMatchObject({ url: '/x?y', headers: { host: 'app.test' } })
    await expect(curl(...proxy, '--proxytunnel', 'http://app.test/')).rejects.toThrow(
      /CONNECT tunnel failed, response 400|Received HTTP code 400/,
    )
    expect(await curl('--request-target', 'http://other.test/', '-o', '/dev/null', '-w', '%{http_code}', plain('/'))).toBe('400')
  })

  it('asks for HTTP/2 by an upgrade in vain, and is served', async () => {
    expect(await curl('--http2', '-o', '/dev/null', '-w', '%{http_version} %{http_code}', plain('/'))).toBe('1.1 200')
  })
})
