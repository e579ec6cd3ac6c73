import { describe, expect, it } from '@jest/globals'
import { RawHeaders } from '../proxy/raw-headers.js'
import { STICKY_BY_DEFAULT, stickyCookie, wantedInstance, type StickyPolicy } from './sticky-session.js'

describe('wantedInstance', () => {
  it.each<[string, string[], string | undefined]>([
    ['both cookies', ['JSESSIONID=a; __VCAP_ID__=i1'], 'i1'],
    ['both, in two fields', ['__VCAP_ID__="i1"', 'JSESSIONID=a'], 'i1'],
    ['no session', ['__VCAP_ID__=i1'], undefined],
    ['no instance', ['JSESSIONID=a'], undefined],
    ['an empty instance', ['JSESSIONID=a; __VCAP_ID__='], undefined],
    ['another name', ['XJSESSIONID=a; __VCAP_ID__=i1'], undefined],
  ])('%s', (_name, cookies, expected) =>
    expect(wantedInstance(RawHeaders.from(cookies.flatMap((cookie) => ['Cookie', cookie])), STICKY_BY_DEFAULT)).toEqual(
      expected === undefined ? undefined : { instanceGuid: expected, must: false },
    ),
  )
})

const STRICT: StickyPolicy = { sessionCookies: ['sid', 'JSESSIONID'], alwaysSecure: true, forNegotiate: true }

describe('wantedInstance by settings', () => {
  it.each<[string, StickyPolicy, string[], ReturnType<typeof wantedInstance>]>([
    [
      'a step of a negotiation',
      STRICT,
      ['Cookie', '__VCAP_ID__=i1', 'Authorization', 'Negotiate YII'],
      { instanceGuid: 'i1', must: true },
    ],
    ['its first step', STRICT, ['Authorization', 'Negotiate YII'], undefined],
    ['another way to prove it', STRICT, ['Cookie', '__VCAP_ID__=i1', 'Authorization', 'Basic YII'], undefined],
    ['where none binds', STICKY_BY_DEFAULT, ['Cookie', '__VCAP_ID__=i1', 'Authorization', 'Negotiate YII'], undefined],
    ['a session by another name', STRICT, ['Cookie', '__VCAP_ID__=i1; sid=a'], { instanceGuid: 'i1', must: false }],
  ])('%s', (_name, policy, fields, expected) => expect(wantedInstance(RawHeaders.from(fields), policy)).toEqual(expected))
})

describe('stickyCookie', () => {
  it.each<[string, string[], string | undefined, string | undefined]>([
    ['a session', ['sid=a'], undefined, '__VCAP_ID__=i1; Path=/shop; HttpOnly; Secure'],
    ['one for TLS already', ['sid=a; secure'], undefined, '__VCAP_ID__=i1; Path=/shop; HttpOnly; secure'],
    ['a negotiation', [], 'Negotiate', '__VCAP_ID__=i1; Path=/shop; HttpOnly; Secure; Max-Age=60; SameSite=Strict'],
    [
      'a negotiation that begins a session',
      ['sid=a; SameSite=Lax'],
      'negotiate',
      '__VCAP_ID__=i1; Path=/shop; HttpOnly; Secure; SameSite=Lax',
    ],
    ['another way to prove it', [], 'Basic realm="x"', undefined],
  ])('by settings: %s', (_name, setCookies, authenticate, expected) => {
    const facts = { route: { path: '/shop' }, endpoint: { instanceGuid: 'i1' }, wanted: undefined }
    expect(stickyCookie({ ...facts, setCookies, authenticate, policy: STRICT })).toBe(expected)
  })

  it.each<[string, string[], string | undefined, string | undefined]>([
    ['nothing to say', ['theme=dark'], undefined, undefined],
    ['a session begins', ['JSESSIONID=a'], undefined, '__VCAP_ID__=i1; Path=/shop; HttpOnly'],
    [
      'its attributes are copied',
      ['JSESSIONID=a; Path=/x; Secure; SameSite=None; Partitioned; Max-Age=60; Expires=Wed, 21 Oct 2026 07:28:00 GMT'],
      undefined,
      '__VCAP_ID__=i1; Path=/shop; HttpOnly; Secure; SameSite=None; Partitioned; Expires=Wed, 21 Oct 2026 07:28:00 GMT',
    ],
    ['a session ends', ['JSESSIONID=; Max-Age=-1'], 'i1', '__VCAP_ID__=i1; Path=/shop; HttpOnly; Max-Age=-1'],
    ['the wanted instance answered', [], 'i1', undefined],
    ['another instance answered', [], 'i2', '__VCAP_ID__=i1; Path=/shop; HttpOnly'],
    ['the application does it itself', ['JSESSIONID=a', '__VCAP_ID__=mine'], 'i2', undefined],
  ])('%s', (_name, setCookies, wanted, expected) =>
    expect(
      stickyCookie({ route: { path: '/shop' }, endpoint: { instanceGuid: 'i1' }, wanted, setCookies, policy: STICKY_BY_DEFAULT }),
    ).toBe(expected),
  )

  it('is for the whole host where the route has no path, and never names nobody', () => {
    const facts = { route: { path: '' }, wanted: undefined, setCookies: ['JSESSIONID=a'], policy: STICKY_BY_DEFAULT }
    expect(stickyCookie({ ...facts, endpoint: { instanceGuid: 'i1' } })).toContain('Path=/;')
    expect(stickyCookie({ ...facts, endpoint: { instanceGuid: '' } })).toBeUndefined()
  })
})
