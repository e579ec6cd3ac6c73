import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { signRequest, verifyRequest } from './signature.js'

const key = (guid: string) => ({ guid, key: randomBytes(32).toString('base64') })
const [first, second, other] = [key('1'), key('2'), key('3')]
const now = new Date('2026-01-01T00:00:00Z')
const later = (ms: number): Date => new Date(now.getTime() + ms)
const signed = (url = 'https://app.test/a?b=c') => {
  const fields = signRequest([first, second], url, now)
  if (!fields) throw new Error('there are keys')
  return fields
}

describe('the signature of a request to a route service', () => {
  it('is read by whoever has its key, also when another one signs by now', () =>
    fc.assert(
      fc.property(fc.webUrl(), (url) => {
        for (const keys of [[first], [second, first]])
          expect(verifyRequest(keys, signed(url), later(59_000), 60_000)).toEqual({ kind: 'valid', forwardedUrl: url })
      }),
    ))

  it('expires, and is worth nothing to others', () => {
    expect(verifyRequest([first], signed(), later(60_001), 60_000)).toEqual({ kind: 'expired' })
    expect(verifyRequest([other], signed(), now, 60_000)).toEqual({ kind: 'invalid' })
    expect(verifyRequest([], signed(), now, 60_000)).toEqual({ kind: 'invalid' })
    expect(signRequest([], 'https://app.test', now)).toBeUndefined()
  })

  it('has the form of Cloud Foundry’s', () => {
    const { signature, metadata } = signed()
    expect(JSON.parse(Buffer.from(metadata, 'base64url').toString())).toEqual({ nonce: expect.stringMatching(/^[\w+/]{16}$/) })
    expect(signature).toMatch(/^[\w-]+=*$/)
  })

  it('cannot be changed or made up', () => {
    const { signature, metadata } = signed()
    for (const broken of [
      { signature: `A${signature.slice(1)}`, metadata: signed().metadata },
      { signature, metadata: signed().metadata },
      { signature, metadata: '' },
      { signature: '', metadata },
      { signature: 'x'.repeat(300_000), metadata },
      { signature, metadata: Buffer.from('{"nonce":7}').toString('base64url') },
      { signature, metadata: 'no json' },
    ])
      expect(verifyRequest([first], broken, now, 60_000)).toEqual({ kind: 'invalid' })
    fc.assert(
      fc.property(fc.string(), fc.string(), (one, two) => {
        expect(verifyRequest([first], { signature: one, metadata: two }, now, 60_000).kind).toBe('invalid')
      }),
    )
  })
})
