/** Random choices that a seed repeats (mulberry32). */
export class Dice {
  #state: number
  constructor(readonly seed: number) {
    this.#state = seed >>> 0
  }
  /** A whole number below the limit. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % limit
  }
  one<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }
  chance(percent: number): boolean {
    return this.below(100) < percent
  }
}

const METHODS = [
  'GET',
  'GET',
  'POST',
  'PUT',
  'DELETE',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PATCH',
  'CONNECT',
  'get',
  'FOO',
  'PRI',
  'M-SEARCH',
]
const TARGETS = [
  '/',
  '/a',
  '/a?b=c',
  '//x',
  '/%2e%2e/',
  '*',
  'http://app.test/abs',
  'http://other.test/',
  'https://app.test:443/',
  'app.test:80',
  '/\x7f',
  '/\xe9',
  '/a b',
  '',
]
const VERSIONS = [
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/1.2',
  'HTTP/2.0',
  'HTTP/0.9',
  'http/1.1',
  'HTTP/1.1 ',
  'HTTP/11',
  '',
]
const HOSTS = [
  'Host: app.test',
  'Host: app.test',
  'Host: app.test',
  'host:APP.test',
  'Host: app.test:80',
  'Host: other.test',
  'Host:',
  'Host: app.test\r\nHost: app.test',
  'Host: app.test/x',
  'Host : app.test',
  '',
]
const FRAMINGS = [
  'Content-Length: 5',
  'Content-Length: 5',
  'Content-Length: 0',
  'Content-Length: 05',
  'Content-Length: +5',
  'Content-Length: -1',
  'Content-Length: 0x5',
  'Content-Length: 5, 5',
  'Content-Length: 5 5',
  'Content-Length:',
  'Content-Length: 5\r\nContent-Length: 5',
  'Content-Length: 5\r\nContent-Length: 6',
  'Content-Length : 5',
  'Content-Length: 99999999999999999999',
  'Content_Length: 5',
  'Content-Length\t: 5',
  ' Content-Length: 5',
  'Content-Length: 5\x0b',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: chunked',
  'transfer-encoding:CHUNKED',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding: chunked;q=1',
  'Transfer-Encoding:\x0bchunked',
  'Transfer-Encoding:\tchunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
  'Content-Length: 5\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: chunked\r\nContent-Length: 5',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding\r\n: chunked',
  'Transfer-Encoding: \r\n chunked',
  'X: y\r\n Transfer-Encoding: chunked',
  'X: y\nTransfer-Encoding: chunked',
  'X: y\rTransfer-Encoding: chunked',
  'Transfer-Encoding:',
  '',
]
const FIELDS = [
  'X-A: 1',
  'X-A:',
  'X-A: \t a \t',
  'x-a: b\r\n c',
  'X-A : 1',
  ': 1',
  'X-A',
  'X-A: a\0b',
  'X-A: a\rb',
  'X A: 1',
  'X-A: \x7f',
  'X-A: \xff',
  'X\xe9: 1',
  'Cookie: a=b; c=d',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: host, content-length',
  'Connection: transfer-encoding',
  'Connection: upgrade\r\nUpgrade: h2c',
  'Upgrade: websocket',
  'Connection: Upgrade\r\nUpgrade: websocket',
  'TE: trailers',
  'Trailer: X-T',
  'Keep-Alive: timeout=1',
  'Expect: 100-continue',
  'Expect: x',
  'X-Forwarded-For: 1.1.1.1',
  'Proxy-Connection: close',
]
const REGULAR_FRAMINGS = ['Content-Length: 5', 'Transfer-Encoding: chunked', 'Content-Length: 0', 'transfer-encoding: Chunked']
const REGULAR_FIELDS = [
  'X-A: 1',
  'X-A:',
  'Cookie: a=b; c=d',
  'Connection: keep-alive',
  'TE: trailers',
  'Connection: host, content-length',
  'Connection: transfer-encoding',
  'Expect: 100-continue',
]
const REGULAR_CHUNKS = ['5\r\nhello\r\n', 'A\r\n0123456789\r\n', '1\r\na\r\n']
const CHUNKS = [
  '5\r\nhello\r\n',
  '5\r\nhello\r\n',
  '1\r\na\r\n',
  'A\r\n0123456789\r\n',
  '005\r\nhello\r\n',
  '5;a=b\r\nhello\r\n',
  '5 ;a\r\nhello\r\n',
  '5;a="\r\n"\r\nhello\r\n',
  '0x5\r\nhello\r\n',
  '5\nhello\r\n',
  '5\r\nhello\n',
  '5\r\nhelloXX',
  '5;a\nhello\r\n',
  '+5\r\nhello\r\n',
  '-1\r\n',
  ' 5\r\nhello\r\n',
  '5 \r\nhello\r\n',
  '\r\n',
  'fffffffffffffffff\r\nhello\r\n',
  '11111111111111111\r\nhello\r\n',
  '5\r\r\nhello\r\n',
  'g\r\n',
  '5_\r\nhello\r\n',
]
const LASTS = [
  '0\r\n\r\n',
  '0\r\n\r\n',
  '0\r\nX-T: 1\r\n\r\n',
  '0\r\nContent-Length: 5\r\n\r\n',
  '0\r\nX T: 1\r\n\r\n',
  '0\n\n',
  '00\r\n\r\n',
  '0;x\r\n\r\n',
  '0\r\n',
  '0\r\nHost: other.test\r\n\r\n',
  '',
]

/** The request that ends a case, when nothing before it has. */
export const SENTINEL = 'GET /sentinel HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n'

/** Bytes of a connection: one to three requests, most parts of them regular, then the sentinel. */
export function generateBytes(dice: Dice): Buffer {
  const count = 1 + dice.below(3)
  const text = Array.from({ length: count }, (_, i) => generateRequest(dice, i)).join('') + SENTINEL
  return mutate(dice, Buffer.from(text, 'latin1'))
}

function generateRequest(dice: Dice, index: number): string {
  const odd = (regular: string, values: readonly string[], percent: number): string =>
    dice.chance(percent) ? dice.one(values) : regular
  const framing = dice.chance(55) ? odd(dice.one(REGULAR_FRAMINGS), FRAMINGS, 30) : ''
  const method = odd(framing === '' ? 'GET' : 'POST', METHODS, 12)
  const target = odd(`/r${index}`, TARGETS, 12)
  const fields = Array.from({ length: dice.below(4) }, () => odd(dice.one(REGULAR_FIELDS), FIELDS, 15))
  const lines = [odd('Host: app.test', HOSTS, 12), ...fields, framing].filter(Boolean)
  if (dice.chance(30)) lines.reverse()
  const end = dice.chance(4) ? '\n' : '\r\n'
  const head = `${method} ${target} ${odd('HTTP/1.1', VERSIONS, 8)}${end}${lines.map((line) => `${line}${end}`).join('')}${end}`
  return `${dice.chance(4) ? '\r\n' : ''}${head}${generateBody(dice, framing)}`
}

function generateBody(dice: Dice, framing: string): string {
  if (/chunked/i.test(framing) && dice.chance(90)) return generateChunks(dice)
  if (/^content-length/i.test(framing) && dice.chance(85)) return dice.chance(85) ? 'hello' : ''
  return dice.chance(10) ? 'hello' : ''
}

/** A chunked body, most parts of it regular. */
export const generateChunks = (dice: Dice): string =>
  Array.from({ length: dice.below(4) }, () => dice.one(dice.chance(25) ? CHUNKS : REGULAR_CHUNKS)).join('') +
  (dice.chance(70) ? '0\r\n\r\n' : dice.one(LASTS))

const BYTES = [0, 9, 10, 11, 13, 32, 34, 44, 48, 58, 59, 127, 128, 255]

/** Now and then a byte or a stretch is lost, doubled or replaced. */
export function mutate(dice: Dice, bytes: Buffer): Buffer {
  let result = bytes
  for (let rounds = dice.chance(30) ? 1 + dice.below(3) : 0; rounds > 0; rounds--) {
    const at = dice.below(result.length)
    const length = 1 + dice.below(dice.chance(20) ? 20 : 2)
    const inserted = dice.chance(50)
      ? Buffer.from([dice.one(BYTES)])
      : dice.chance(50)
        ? result.subarray(at, at + length)
        : Buffer.alloc(0)
    const skipped = dice.chance(50) ? length : 0
    result = Buffer.concat([result.subarray(0, at), inserted, result.subarray(at + skipped)])
  }
  return result
}

/** The bytes in pieces, as the network might deliver them. */
export function cut(dice: Dice, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = []
  let at = 0
  for (let left = dice.chance(50) ? 0 : 1 + dice.below(4); left > 0 && at < bytes.length; left--) {
    const to = at + 1 + dice.below(bytes.length - at)
    pieces.push(bytes.subarray(at, to))
    at = to
  }
  if (at < bytes.length) pieces.push(bytes.subarray(at))
  return pieces
}
