import { describe, expect, it } from '@jest/globals'
import { bundlerEnvironment, goEnvironment, npmEnvironment, pipEnvironment } from './client-settings.js'

describe('settings of package managers', () => {
  it('npm: the registry and how to reach it, of scopes too; nothing secret', () => {
    const json = JSON.stringify({
      registry: 'http://mirror/',
      '@own:registry': 'http://own/',
      'https-proxy': null,
      maxsockets: 5,
      '//mirror/:_authToken': 'secret',
      cache: '/home/somebody',
    })
    expect(npmEnvironment(json)).toEqual({
      NPM_CONFIG_REGISTRY: 'http://mirror/',
      'npm_config_@own:registry': 'http://own/',
      NPM_CONFIG_MAXSOCKETS: '5',
    })
  })

  it('pip: variables of the process come last and win', () => {
    expect(pipEnvironment("global.index-url='http://one'\n:env:.index-url='http://two'\nglobal.cert='/x'")).toEqual({
      PIP_INDEX_URL: 'http://two',
    })
  })

  it('Go: what it says itself, else its variables', () => {
    expect(goEnvironment('{"GOPROXY":"http://a","GOPRIVATE":""}', { GOPROXY: 'http://b' })).toEqual({ GOPROXY: 'http://a' })
    expect(goEnvironment(undefined, { GOPROXY: 'http://b', GOSUMDB: undefined })).toEqual({ GOPROXY: 'http://b' })
  })

  it('Bundler: mirrors, without passwords', () => {
    expect(bundlerEnvironment('jobs=4\nmirror.https://gems.example/=http://me:secret@mirror/gems/\n')).toEqual({
      'BUNDLE_MIRROR__HTTPS://GEMS__EXAMPLE/': 'http://mirror/gems/',
    })
  })
})
