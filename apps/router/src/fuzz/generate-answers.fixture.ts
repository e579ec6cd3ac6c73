import { generateChunks, mutate, type Dice } from './generate.fixture.js'

const STATUS_LINES = [
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 Not Modified',
  'HTTP/1.1 404 Not Found',
  'HTTP/1.1 500 Oh no',
  'HTTP/1.0 200 OK',
  'HTTP/1.1 200 ',
  'HTTP/1.1 200',
  'HTTP/1.1  200 OK',
  'HTTP/1.1 2000 OK',
  'HTTP/1.1 099 Low',
  'HTTP/1.1 -200 OK',
  'HTTP/1.1 20x OK',
  'HTTP/1.1 999 High',
  'HTTP/1.2 200 OK',
  'HTTP/2.0 200 OK',
  'HTTP/2 200',
  'http/1.1 200 OK',
  'HTTP/1.1 200 O\xe9K',
  'HTTP/1.1 200 O\0K',
  'HTTP/1.1 200 O\rK',
  'HTTP/1.1 101 Switching Protocols',
  'SSH-2.0-x',
  '',
]
const INFORMED = [
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n',
]
const REGULAR_FRAMINGS = ['Content-Length: 5', 'Transfer-Encoding: chunked', 'Content-Length: 0', '']
const FRAMINGS = [
  'Content-Length: 05',
  'Content-Length: +5',
  'Content-Length: -1',
  'Content-Length: 5, 5',
  'Content-Length: 5\r\nContent-Length: 5',
  'Content-Length: 5\r\nContent-Length: 6',
  'Content-Length: 6',
  'Content-Length: 4',
  'Content-Length:',
  'Content-Length : 5',
  'Content-Length: 99999999999999999999',
  'Transfer-Encoding: chunked\r\nContent-Length: 5',
  'Content-Length: 5\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding:\x0bchunked',
  'Transfer-Encoding: \r\n chunked',
  'X: y\nTransfer-Encoding: chunked',
  'Transfer-Encoding:',
]
const REGULAR_FIELDS = [
  'X-A: 1',
  'Set-Cookie: a=b',
  'Connection: keep-alive',
  'Connection: close',
  'Keep-Alive: timeout=5',
  'Trailer: X-T',
  'X-Cf-Proxy-Signature: s',
]
const FIELDS = [
  'X-A : 1',
  'X-A',
  ': 1',
  'X-A: a\0b',
  'X-A: a\rb',
  'X A: 1',
  'X-A: 1\r\n 2',
  'X-A: \xff',
  'X-A: \x7f',
  'X\xe9: 1',
  'Connection: content-length',
  'Connection: transfer-encoding',
  'Connection: upgrade\r\nUpgrade: h2c',
  'Keep-Alive: timeout=99999999999999',
  'Date: x\r\nDate: y',
  'X-Cf-RouterError: forged',
]
/** What an instance would smuggle into the answer to somebody else's request. */
const EVIL = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'

/** Bytes that an instance sends after a request, most parts of them regular; then it ends the connection. */
export function generateAnswer(dice: Dice): Buffer {
  const odd = (regular: string, values: readonly string[], percent: number): string =>
    dice.chance(percent) ? dice.one(values) : regular
  const framing = odd(dice.one(REGULAR_FRAMINGS), FRAMINGS, 25)
  const lines = [...Array.from({ length: dice.below(4) }, () => odd(dice.one(REGULAR_FIELDS), FIELDS, 15)), framing].filter(
    Boolean,
  )
  if (dice.chance(30)) lines.reverse()
  const end = dice.chance(4) ? '\n' : '\r\n'
  const head = `${odd('HTTP/1.1 200 OK', STATUS_LINES, 20)}${end}${lines.map((each) => `${each}${end}`).join('')}${end}`
  const body = /chunked/i.test(framing) && dice.chance(90) ? generateChunks(dice) : dice.chance(85) ? 'hello' : ''
  const text = `${dice.chance(10) ? dice.one(INFORMED) : ''}${head}${body}${dice.chance(15) ? EVIL : ''}`
  return mutate(dice, Buffer.from(text, 'latin1'))
}
