import { describe, expect, it } from '@jest/globals'
import { makeVerifier, ScramConversation, ScramError, type ScramVerifier } from './scram.js'
import { scramClient } from './wire-client.fixture.js'

const secret = Buffer.alloc(32, 1)

describe('a SCRAM login', () => {
  const users = new Map<string, ScramVerifier>()
  const conversation = (): ScramConversation => new ScramConversation((name) => users.get(name), secret)
  beforeAll(async () => {
    users.set('alice', await makeVerifier('secret-1'))
    users.set('a,b=c', await makeVerifier('secret-2'))
  })

  it.each([
    ['alice', 'secret-1'],
    ['a,b=c', 'secret-2'],
  ])('lets %s in by the right password', (user, password) => {
    const [server, client] = [conversation(), scramClient(user, password)]
    const outcome = server.final(client.final(server.first(client.first)))
    expect(outcome.user).toBe(user)
    expect(outcome.answer).toMatch(/^v=[A-Za-z0-9+/]{43}=$/)
  })

  it.each([
    ['a wrong password', 'alice', 'secret-2'],
    ['an unknown user', 'nobody', 'secret-1'],
  ])('refuses %s', (_, user, password) => {
    const [server, client] = [conversation(), scramClient(user, password)]
    expect(() => server.final(client.final(server.first(client.first)))).toThrow(ScramError)
  })

  it('does not show which users there are: an unknown one has a salt too, always the same', () => {
    const salts = [1, 2].map(() => /,s=([^,]+),i=15000$/.exec(conversation().first(scramClient('nobody', '').first))?.[1])
    expect(salts[0]).toHaveLength(40)
    expect(salts[0]).toBe(salts[1])
  })

  it('takes no final message of another login', () => {
    const client = scramClient('alice', 'secret-1')
    const [heard, other] = [conversation(), conversation()]
    const final = client.final(heard.first(client.first))
    expect(heard.final(final).user).toBe('alice')
    // The same client message again gets another nonce of ours.
    other.first(client.first)
    expect(() => other.final(final)).toThrow('nonce')
  })

  it('goes its way once, and ends at the first fault', () => {
    const client = scramClient('alice', 'secret-1')
    const server = conversation()
    const final = client.final(server.first(client.first))
    expect(() => server.first(client.first)).toThrow('out of turn')
    server.final(final)
    expect(() => server.final(final)).toThrow('out of turn')
    const wrong = conversation()
    const right = client.final(wrong.first(client.first))
    expect(() => wrong.final(right.replace(/p=.{4}/, 'p=AAAA'))).toThrow(ScramError)
    expect(() => wrong.final(right)).toThrow('out of turn')
    expect(() => conversation().final(final)).toThrow('out of turn')
  })

  it('refuses who is removed, or gets another password, in the middle', async () => {
    const client = scramClient('dave', 'first')
    users.set('dave', await makeVerifier('first'))
    const [removed, changed] = [conversation(), conversation()]
    const finals = [removed, changed].map((server) => client.final(server.first(client.first)))
    users.delete('dave')
    expect(() => removed.final(finals[0]!)).toThrow(ScramError)
    users.set('dave', await makeVerifier('second'))
    expect(() => changed.final(finals[1]!)).toThrow(ScramError)
  })

  it.each([
    ['another identity', 'n,a=bob,n=alice,r=abcdefghijklmnop'],
    ['channel binding', 'p=tls-unique,,n=alice,r=abcdefghijklmnop'],
    ['extensions', 'n,,m=ext,n=alice,r=abcdefghijklmnop'],
    ['no nonce', 'n,,n=alice'],
    ['a short nonce', 'n,,n=alice,r=abc'],
    ['no name', 'n,,n=,r=abcdefghijklmnop'],
    ['a name with a wrong escape', 'n,,n=al=ice,r=abcdefghijklmnop'],
    ['nothing', ''],
    ['too much', `n,,n=alice,r=${'a'.repeat(5000)}`],
  ])('does not take a first message with %s', (_, first) => {
    expect(() => conversation().first(first)).toThrow(ScramError)
  })

  it('keeps nothing by which one could log in', async () => {
    const verifier = await makeVerifier('secret-1')
    expect(JSON.stringify(verifier)).not.toContain('secret-1')
    const [server, client] = [conversation(), scramClient('alice', 'secret-1')]
    const asPassword = scramClient('alice', verifier.storedKey)
    expect(() => server.final(asPassword.final(server.first(client.first)))).toThrow(ScramError)
  })
})
