import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { readProxyHeader } from './proxy-protocol.js'

const v2 = (command: number, family: number, addresses: readonly number[]): Buffer =>
  Buffer.concat([
    Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20 | command, family]),
    Buffer.from([addresses.length >> 8, addresses.length & 255, ...addresses]),
  ])
const IPV4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0, 80]
const IPV6 = [...Array<number>(15).fill(0), 1, ...Array<number>(16).fill(9), 0x30, 0x39, 1, 187]

describe('readProxyHeader', () => {
  it.each<[string, Buffer, ReturnType<typeof readProxyHeader>]>([
    [
      'version 1',
      Buffer.from('PROXY TCP4 192.0.2.1 10.0.0.1 12345 80\r\nGET /'),
      { kind: 'header', length: 40, client: { address: '192.0.2.1', port: 12_345 } },
    ],
    [
      'version 1 over IPv6',
      Buffer.from('PROXY TCP6 2001:db8::1 ::1 1 2\r\n'),
      { kind: 'header', length: 32, client: { address: '2001:db8::1', port: 1 } },
    ],
    ['an unknown client', Buffer.from('PROXY UNKNOWN whatever\r\n'), { kind: 'header', length: 24, client: undefined }],
    ['version 2', v2(1, 0x11, IPV4), { kind: 'header', length: 28, client: { address: '192.0.2.1', port: 12_345 } }],
    ['version 2 over IPv6', v2(1, 0x21, IPV6), { kind: 'header', length: 52, client: { address: '::1', port: 12_345 } }],
    ['a check by the balancer', v2(0, 0, []), { kind: 'header', length: 16, client: undefined }],
    ['a unix socket', v2(1, 0x31, Array<number>(216).fill(0)), { kind: 'header', length: 232, client: undefined }],
    ['no header', Buffer.from('GET / HTTP/1.1\r\n'), { kind: 'none' }],
    ['another word', Buffer.from('PROXYING'), { kind: 'none' }],
    ['a wrong address', Buffer.from('PROXY TCP4 ::1 10.0.0.1 1 2\r\n'), { kind: 'invalid' }],
    ['a wrong port', Buffer.from('PROXY TCP4 192.0.2.1 10.0.0.1 70000 2\r\n'), { kind: 'invalid' }],
    ['an endless line', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`), { kind: 'invalid' }],
    ['too few bytes of address', v2(1, 0x11, [1, 2, 3]), { kind: 'invalid' }],
    ['another version', Buffer.concat([v2(0, 0, []).subarray(0, 12), Buffer.from([0x31, 0, 0, 0])]), { kind: 'invalid' }],
  ])('%s', (_what, bytes, expected) => expect(readProxyHeader(bytes)).toEqual(expected))

  it('waits for what is cut', () => {
    for (const whole of [Buffer.from('PROXY TCP4 192.0.2.1 10.0.0.1 12345 80\r\n'), v2(1, 0x11, IPV4)])
      for (let end = 0; end < whole.length; end++) expect(readProxyHeader(whole.subarray(0, end)).kind).toBe('incomplete')
  })

  it('survives whatever comes', () =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, marked) => {
        const all = marked ? Buffer.concat([v2(1, 0x11, IPV4).subarray(0, 12), bytes]) : Buffer.from(bytes)
        expect(['incomplete', 'none', 'invalid', 'header']).toContain(readProxyHeader(all).kind)
      }),
    ))
})
