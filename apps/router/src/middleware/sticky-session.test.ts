import { describe, expect, it } from '@jest/globals'
import { RawHeaders } from '../proxy/raw-headers.js'
import { stickyCookie, wantedInstance } from './sticky-session.js'

describe('wantedInstance', () => {
  it.each<[string, string[], string | undefined]>([
    ['both cookies', ['JSESSIONID=a; __VCAP_ID__=i1'], 'i1'],
    ['both, in two fields', ['__VCAP_ID__="i1"', 'JSESSIONID=a'], 'i1'],
    ['no session', ['__VCAP_ID__=i1'], undefined],
    ['no instance', ['JSESSIONID=a'], undefined],
    ['an empty instance', ['JSESSIONID=a; __VCAP_ID__='], undefined],
    ['another name', ['XJSESSIONID=a; __VCAP_ID__=i1'], undefined],
  ])('%s', (_name, cookies, expected) =>
    expect(wantedInstance(RawHeaders.from(cookies.flatMap((cookie) => ['Cookie', cookie])))).toBe(expected),
  )
})

describe('stickyCookie', () => {
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
    expect(stickyCookie({ route: { path: '/shop' }, endpoint: { instanceGuid: 'i1' }, wanted, setCookies })).toBe(expected),
  )

  it('is for the whole host where the route has no path, and never names nobody', () => {
    const facts = { route: { path: '' }, wanted: undefined, setCookies: ['JSESSIONID=a'] }
    expect(stickyCookie({ ...facts, endpoint: { instanceGuid: 'i1' } })).toContain('Path=/;')
    expect(stickyCookie({ ...facts, endpoint: { instanceGuid: '' } })).toBeUndefined()
  })
})
