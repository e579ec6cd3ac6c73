import fc from 'fast-check'
import { describe, expect, it } from '@jest/globals'
import { isInNetwork, parseIpAddress, parseIpNetwork } from './ip-address.js'
import {
  parseAllowedDestination,
  refuseTenantAddress,
  type AllowedDestination,
  type TenantAddressPolicy,
} from './tenant-address.js'

const allowing = (...texts: string[]): TenantAddressPolicy => ({
  allowed: texts.map(parseAllowedDestination).filter((each): each is AllowedDestination => each !== undefined),
  own: [],
})
const STRICT = allowing()

describe('refuseTenantAddress', () => {
  it.each([
    ['8.8.8.8', undefined],
    ['2606:4700::1111', undefined],
    ['172.15.255.255', undefined],
    ['172.32.0.1', undefined],
    ['100.128.0.1', undefined],
    ['64:ff9b::808:808', undefined],
    ['2002:808:808::1', undefined],
    ['127.0.0.1', 'loopback'],
    ['127.255.0.9', 'loopback'],
    ['0.0.0.0', 'loopback'],
    ['::1', 'loopback'],
    ['[::1]', 'loopback'],
    ['::', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['::ffff:0:127.0.0.1', 'loopback'],
    ['::127.0.0.1', 'loopback'],
    ['64:ff9b::127.0.0.1', 'loopback'],
    ['64:ff9b::a9fe:a9fe', 'link-local'],
    ['2002:7f00:1::', 'loopback'],
    ['2002:c0a8:101::1', 'private'],
    ['169.254.169.254', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['fd00:ec2::254', 'link-local'],
    ['10.1.2.3', 'private'],
    ['172.16.0.1', 'private'],
    ['192.168.255.1', 'private'],
    ['100.64.0.1', 'private'],
    ['fd12::1', 'private'],
    ['fec0::1', 'private'],
    ['64:ff9b:1::a00:1', 'private'],
    ['224.0.0.1', 'reserved'],
    ['255.255.255.255', 'reserved'],
    ['ff02::1', 'reserved'],
    ['2001:0:7f00:1::', 'reserved'],
    ['198.18.0.1', 'reserved'],
    ['0177.0.0.1', 'no address'],
    ['127.1', 'no address'],
    ['2130706433', 'no address'],
    ['example.com', 'no address'],
    ['1::2::3', 'no address'],
    ['1:2:3:4:5:6:7:8:9', 'no address'],
    ['', 'no address'],
  ])('judges %s: %s', (address, expected) => expect(refuseTenantAddress(STRICT, address, 443)).toBe(expected))

  it('lets pass what the operator allows, at that port', () => {
    const policy = allowing('10.0.0.0/8', '127.0.0.1:8080', '[fd00::1]:443')
    expect(refuseTenantAddress(policy, '10.9.9.9', 1)).toBeUndefined()
    expect(refuseTenantAddress(policy, '::ffff:10.9.9.9', 1)).toBeUndefined()
    expect(refuseTenantAddress(policy, '127.0.0.1', 8080)).toBeUndefined()
    expect(refuseTenantAddress(policy, '127.0.0.1', 8081)).toBe('loopback')
    expect(refuseTenantAddress(policy, 'fd00::1', 443)).toBeUndefined()
    expect(refuseTenantAddress(policy, 'fd00::2', 443)).toBe('private')
  })
  it("refuses the platform's own public addresses, also inside an IPv6 one", () => {
    const own = [parseIpNetwork('93.184.216.34')].filter((each) => each !== undefined)
    expect(refuseTenantAddress({ allowed: [], own }, '::ffff:93.184.216.34', 443)).toBe("the platform's own")
  })
  it('never lets an IPv4 address pass in an IPv6 form when it is refused as itself', () =>
    fc.assert(
      fc.property(fc.ipV4(), fc.constantFrom('::ffff:', '64:ff9b::', '::ffff:0:'), (v4, prefix) => {
        const refused = refuseTenantAddress(STRICT, v4, 80)
        expect(refuseTenantAddress(STRICT, prefix + v4, 80)).toBe(refused)
      }),
    ))
  it.each(['x', '1.2.3.4:0', '1.2.3.4:70000', '1.2.3.4/33', '', '1.2.3.4:x'])('takes %s for no destination', (text) =>
    expect(parseAllowedDestination(text)).toBeUndefined(),
  )
})

describe('parseIpAddress', () => {
  it('reads whatever is an address, and places it in its own network', () =>
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const address = parseIpAddress(text)
        const network = parseIpNetwork(text)
        expect(address !== undefined && network !== undefined && isInNetwork(address, network)).toBe(true)
      }),
    ))
})
