import { isBuildpackAddress } from './buildpack-address.js'

describe('what names a buildpack', () => {
  it.each([
    'https://example.com/me/buildpack.git',
    'https://user:secret@example.com/me/buildpack#v1',
    'http://example.com/buildpack.zip',
    'git://example.com/me/buildpack.git',
    'ssh://git@example.com/me/buildpack.git',
    'git@example.com:me/buildpack.git',
  ])('%s is an address', (name) => expect(isBuildpackAddress(name)).toBe(true))

  it.each([
    'nodejs_buildpack',
    '',
    'https://',
    'https://example.com',
    'file:///etc/passwd',
    'ftp://example.com/a.zip',
    'git@example.com',
  ])('%s is none', (name) => expect(isBuildpackAddress(name)).toBe(false))
})
