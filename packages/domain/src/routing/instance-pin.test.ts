import { describe, expect, it } from '@jest/globals'
import { isPinned, parseInstancePin } from './instance-pin.js'

const GUID = '0f2a0bd0-1111-4222-8333-0123456789ab'

describe('parseInstancePin', () => {
  it.each([
    ['app', `${GUID}:0`, { kind: 'app', guid: GUID, index: 0 }],
    ['app', GUID, undefined],
    ['app', `${GUID}:`, undefined],
    ['app', `${GUID}:-1`, undefined],
    ['app', `${GUID.toUpperCase()}:0`, undefined],
    ['app', 'app:0', undefined],
    ['process', GUID, { kind: 'process', guid: GUID }],
    ['process', `${GUID}:12`, { kind: 'process', guid: GUID, index: 12 }],
    ['process', `${GUID}:x`, undefined],
  ] as const)('%s %s', (kind, value, expected) => expect(parseInstancePin(kind, value)).toEqual(expected))
})

describe('isPinned', () => {
  const endpoint = { appGuid: GUID, processGuid: 'p', index: 3 }
  it.each([
    [{ kind: 'app', guid: GUID, index: 3 }, true],
    [{ kind: 'app', guid: GUID, index: 2 }, false],
    [{ kind: 'process', guid: 'p' }, true],
    [{ kind: 'process', guid: GUID }, false],
  ] as const)('%j → %s', (pin, expected) => expect(isPinned(pin, endpoint)).toBe(expected))
})
