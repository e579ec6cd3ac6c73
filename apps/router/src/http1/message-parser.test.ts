import { describe, expect, it } from '@jest/globals'
import { MessageParser } from './message-parser.js'

interface Read {
  readonly heads: unknown[]
  readonly error: string | undefined
}

/** All messages in the bytes, fed in pieces of the given lengths. */
function readAll(type: 'request' | 'response', pieces: readonly Buffer[]): Read {
  const parser = new MessageParser(type)
  const heads: Record<string, unknown>[] = []
  let body: string[] | undefined
  let sized = 0
  for (const piece of pieces) {
    let at = 0
    while (at < piece.length) {
      if (sized > 0) {
        const taken = Math.min(sized, piece.length - at)
        sized -= taken
        at += taken
        continue
      }
      if (body) {
        at = parser.readChunks(piece, at)
        for (let i = 0; i < parser.spans.length; i += 2)
          body.push(piece.toString('latin1', parser.spans[i], (parser.spans[i] ?? 0) + (parser.spans[i + 1] ?? 0)))
        if (parser.error !== undefined) return { heads, error: parser.error }
        if (parser.done) {
          Object.assign(heads.at(-1) ?? {}, { body: body.join(''), trailers: parser.takeFields().toFlat() })
          body = undefined
        }
        continue
      }
      at = parser.readHead(piece, at)
      if (parser.error !== undefined) return { heads, error: parser.error }
      if (!parser.done) continue
      const headers = parser.takeFields()
      const { httpVersion: version, keepAlive, chunked } = parser
      heads.push({
        ...(type === 'request'
          ? { method: parser.method, target: parser.target }
          : { status: parser.status, reason: parser.reason }),
        version,
        keepAlive,
        fields: headers.toFlat(),
      })
      if (chunked) {
        body = []
        parser.startBody()
      } else sized = Number(headers.get('content-length') ?? 0)
    }
  }
  parser.free()
  return { heads, error: undefined }
}

const REQUESTS = [
  'POST /a?b=c HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nX-Empty:\r\nX-Trail: v \t\r\n\r\nhello',
  'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n5;x=y\r\nhello\r\n3\r\n wo\r\n0\r\nX-T: 1\r\nX-E:\r\n\r\n',
  '\r\nGET /last HTTP/1.0\r\nX-Empty:\r\n\r\n',
]
const RESPONSES = [
  'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
  'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n',
  'HTTP/1.1 204\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.1 418 Short and stout\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
]

describe('MessageParser', () => {
  it('reads requests one after another', () => {
    expect(readAll('request', [Buffer.from(REQUESTS.join(''))])).toEqual({
      error: undefined,
      heads: [
        {
          method: 'POST',
          target: '/a?b=c',
          version: '1.1',
          keepAlive: true,
          fields: ['Host', 'a.test', 'Content-Length', '5', 'X-Empty', '', 'X-Trail', 'v'],
        },
        expect.objectContaining({ method: 'GET', target: '/ws', keepAlive: true }),
        expect.objectContaining({ method: 'POST', target: '/c', body: 'hello wo', trailers: ['X-T', '1', 'X-E', ''] }),
        expect.objectContaining({ method: 'GET', target: '/last', version: '1.0', keepAlive: false, fields: ['X-Empty', ''] }),
      ],
    })
  })

  it('reads answers one after another', () => {
    expect(readAll('response', [Buffer.from(RESPONSES.join(''))])).toMatchObject({
      error: undefined,
      heads: [
        { status: 200, reason: 'OK' },
        { status: 103, reason: 'Early Hints' },
        { status: 204, reason: '' },
        { status: 418, reason: 'Short and stout', body: 'a' },
      ],
    })
  })

  it.each([
    ['request' as const, REQUESTS],
    ['response' as const, RESPONSES],
  ])('reads a %s alike wherever it is cut', (type, messages) => {
    const bytes = Buffer.from(messages.join(''))
    const whole = readAll(type, [bytes])
    for (let cut = 1; cut < bytes.length; cut++)
      expect(readAll(type, [bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(whole)
    expect(
      readAll(
        type,
        [...bytes].map((byte) => Buffer.from([byte])),
      ),
    ).toEqual(whole)
  })
})
