import { describe, expect, it } from '@jest/globals'
import type { BuildpackRecord } from '../builds/build-record.js'
import { chooseBuildpacks } from './choose-buildpacks.js'

const record = (name: string, changes: Partial<BuildpackRecord> = {}): BuildpackRecord => ({
  guid: `${name}-${changes.stack ?? 'none'}`,
  name,
  stack: null,
  enabled: true,
  state: 'READY',
  filename: `${name}.zip`,
  sha256: 'x',
  blobKey: 'x',
  system: false,
  ...changes,
})

describe('the choice of buildpacks', () => {
  const kept = [
    record('first'),
    record('second', { enabled: false }),
    record('third', { state: 'AWAITING_UPLOAD', blobKey: null, sha256: null }),
    record('both'),
    record('both', { stack: 'cflinuxfs4' }),
  ]
  const chosen = (...named: string[]) => chooseBuildpacks(named, kept, 'cflinuxfs4')

  it('asks what is enabled and has bits, by position', () => {
    const { skipDetect, buildpacks } = chosen()
    expect([skipDetect, buildpacks.map(({ key }) => key)]).toEqual([false, ['first', 'both', 'both']])
  })

  it('takes named ones in their order, that of the stack before that of none, and addresses', () => {
    const { skipDetect, buildpacks } = chosen('both', 'https://x.example/y.zip', 'first')
    expect(skipDetect).toBe(true)
    expect(buildpacks.map((each) => (each.kind === 'kept' ? each.record.guid : each.url))).toEqual([
      'both-cflinuxfs4',
      'https://x.example/y.zip',
      'first-none',
    ])
  })

  it.each([
    ['second', /the buildpack 'second' is disabled$/, /have the operator enable it/],
    ['third', /the buildpack 'third' has no bits yet$/, /cf update-buildpack third -p ZIP/],
    ['fourth', /the buildpack 'fourth' does not exist for the stack cflinuxfs4$/, /another stack \(cf push -s\)/],
  ])('tells why %s cannot stage, and what to do', (name, message, nextStep) => {
    expect(() => chosen(name)).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(message),
        kind: 'buildpack-unavailable',
        nextStep: expect.stringMatching(nextStep),
      }),
    )
  })

  it('says so where none is enabled', () => {
    expect(() => chooseBuildpacks([], [], 'bookworm')).toThrow(
      expect.objectContaining({ errorClass: 'NoAppDetectedError', kind: 'nothing-detected' }),
    )
  })
})
