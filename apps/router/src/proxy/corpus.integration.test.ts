import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Watched } from '../fuzz/fuzz.fixture.js'

let router: Watched
beforeAll(async () => {
  router = await Watched.start('http1')
})
afterAll(() => router.close())

const HOST = 'Host: app.test\r\n'
/** A second request, hidden in what one of two readers takes for the body of the first. */
const HIDDEN = 'GET /hidden HTTP/1.1\r\nHost: app.test\r\n\r\n'
const post = (fields: string, body: string): string => `POST /first HTTP/1.1\r\n${HOST}${fields}\r\n${body}`

/** Each row: what it is, the bytes, and the targets that may reach an endpoint. */
const CORPUS: readonly [string, string, readonly string[]][] = [
  ['CL.TE', post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['TE.CL', post('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', `5c\r\n${HIDDEN}\r\n0\r\n\r\n`), []],
  ['CL.CL', post(`Content-Length: 0\r\nContent-Length: ${HIDDEN.length}\r\n`, HIDDEN), []],
  ['a list of lengths', post(`Content-Length: 0, ${HIDDEN.length}\r\n`, HIDDEN), []],
  ['TE.TE with a second coding', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['a coding in quotes', post('Transfer-Encoding: "chunked"\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['a coding after a vertical tab', post('Transfer-Encoding: \x0bchunked\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['a coding with a parameter', post('Transfer-Encoding: chunked;q=0\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['a coding on a continued line', post('Transfer-Encoding:\r\n chunked\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['a coding behind a bare LF', post('X: y\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['a coding behind a bare CR', post('X: y\rTransfer-Encoding: chunked\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['a space before the colon', post('Transfer-Encoding : chunked\r\n', `0\r\n\r\n${HIDDEN}`), []],
  ['a length behind a space', post(` Content-Length: ${HIDDEN.length}\r\n`, HIDDEN), []],
  ['a length with a sign', post(`Content-Length: +${HIDDEN.length}\r\n`, HIDDEN), []],
  ['a chunk size in C notation', post('Transfer-Encoding: chunked\r\n', `0x0\r\n\r\n${HIDDEN}`), []],
  ['a chunk ended by a bare LF', post('Transfer-Encoding: chunked\r\n', `0\n\n${HIDDEN}`), []],
  ['an extension with a bare LF', post('Transfer-Encoding: chunked\r\n', `2;\nxx\r\n0\r\n\r\n${HIDDEN}`), []],
  ['an extension with a bare CR', post('Transfer-Encoding: chunked\r\n', `2;a\rb\r\nxx\r\n0\r\n\r\n${HIDDEN}`), []],
  ['a chunk longer than its size', post('Transfer-Encoding: chunked\r\n', `2\r\nxxxx\r\n0\r\n\r\n${HIDDEN}`), []],
  ['a size beyond 64 bits', post('Transfer-Encoding: chunked\r\n', `10000000000000000\r\n${HIDDEN}`), []],
  ['a trailer without a colon', post('Transfer-Encoding: chunked\r\n', `0\r\nX\r\n\r\n${HIDDEN}`), []],
  ['a chunked HTTP/1.0 body', `POST /first HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`, []],
  ['HTTP/2.0 in a request line', `GET /first HTTP/2.0\r\n${HOST}\r\n`, []],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', []],
  ['two spaces before the target', `GET  /first HTTP/1.1\r\n${HOST}\r\n`, []],
  ['two spaces before the version', `GET /first  HTTP/1.1\r\n${HOST}\r\n`, []],
  ['a bare LF before the request', `\nGET /first HTTP/1.1\r\n${HOST}\r\n`, []],
  ['NUL in a name', `GET /first HTTP/1.1\r\n${HOST}X\0: y\r\n\r\n`, []],
  ['two hosts in one', 'GET /first HTTP/1.1\r\nHost: app.test, other.test\r\n\r\n', []],
  ['an absolute target with another host', `GET http://other.test/first HTTP/1.1\r\n${HOST}\r\n`, []],
  ['credentials in an absolute target', `GET http://app.test@other.test/ HTTP/1.1\r\nHost: app.test@other.test\r\n\r\n`, []],
  // What follows is regular: both requests are meant, and both arrive.
  ['a sized body, then a request', post('Content-Length: 5\r\n', `hello${HIDDEN}`), ['/first', '/hidden']],
  [
    'a chunked body, then a request',
    post('Transfer-Encoding: chunked\r\n', `5\r\nhello\r\n0\r\n\r\n${HIDDEN}`),
    ['/first', '/hidden'],
  ],
  [
    'an offer of h2c, then a request',
    `GET /first HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n${HIDDEN}`,
    ['/first', '/hidden'],
  ],
  [
    'Connection names the length',
    post('Connection: content-length\r\nContent-Length: 5\r\n', `hello${HIDDEN}`),
    ['/first', '/hidden'],
  ],
  [
    'Connection names the coding',
    post('Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${HIDDEN}`),
    ['/first', '/hidden'],
  ],
]

/** Ends the connection once the regular requests are answered. */
const LAST = `GET /last HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`

describe('smuggling and desynchronisation', () => {
  it.each(CORPUS)('%s', async (_name, bytes, expected) => {
    const { seen, statuses } = await router.send([Buffer.from(bytes + LAST, 'latin1')], 2_000)
    const targets = seen.map(({ target }) => target)
    if (expected.length > 0) expect(targets).toEqual([...expected, '/last'])
    else {
      expect(targets).not.toContain('/hidden')
      expect(targets).not.toContain('/last')
      expect(statuses.filter((status) => status < 400)).toEqual([])
    }
    expect(router.malformed).toEqual([])
  })

  it('is read alike wherever the bytes are cut', async () => {
    for (const [name, text, expected] of CORPUS) {
      const bytes = Buffer.from(text + LAST, 'latin1')
      const cuts = Array.from({ length: text.length }, (_, i) => i + 1)
      const outcomes = await inLanes(cuts, 24, (at) => router.send([bytes.subarray(0, at), bytes.subarray(at)], 2_000))
      for (const [i, { seen }] of outcomes.entries()) {
        const targets = seen.map(({ target }) => target)
        const wanted = expected.length > 0 ? [...expected, '/last'] : []
        expect({ name, cut: cuts[i], targets: targets.filter((target) => target !== '/first' || expected.length > 0) }).toEqual({
          name,
          cut: cuts[i],
          targets: wanted,
        })
      }
    }
    expect(router.malformed).toEqual([])
  }, 120_000)
})

describe('a client that trickles', () => {
  it('byte by byte is served', async () => {
    const pieces = [...Buffer.from(post('Content-Length: 5\r\n', 'hello') + LAST)].map((byte) => Buffer.from([byte]))
    const { seen } = await router.send(pieces, 5_000)
    expect(seen.map(({ target, body }) => [target, body])).toEqual([
      ['/first', 'hello'],
      ['/last', ''],
    ])
  })

  it('and goes away costs nothing', async () => {
    const socket = connect(router.plane.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHos')
    await new Promise((resolve) => socket.once('connect', resolve))
    socket.resetAndDestroy()
    expect((await router.send([Buffer.from(LAST)], 2_000)).statuses).toEqual([200])
  })
})

/** Runs the work for each value, several at a time, and keeps the order of the results. */
async function inLanes<T, R>(values: readonly T[], lanes: number, work: (value: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (let at = next++; at < values.length; at = next++) results[at] = await work(values[at] as T)
    }),
  )
  return results
}
