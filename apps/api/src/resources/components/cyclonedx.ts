import type { Droplet, DropletComponent } from '@bloomery/database'

const ALGORITHMS: Readonly<Record<string, string>> = {
  md5: 'MD5',
  sha1: 'SHA-1',
  sha256: 'SHA-256',
  sha384: 'SHA-384',
  sha512: 'SHA-512',
}

/** A droplet's bill of materials as CycloneDX 1.5; the same droplet gives the same document. */
export function toCycloneDx(
  droplet: Droplet,
  app: { readonly guid: string; readonly name: string },
  components: readonly DropletComponent[],
) {
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    serialNumber: `urn:uuid:${droplet.guid}`,
    version: 1,
    metadata: {
      timestamp: droplet.createdAt.toISOString(),
      component: {
        type: 'application',
        'bom-ref': droplet.guid,
        name: app.name,
        version: droplet.sha256 ?? droplet.guid,
        ...(droplet.sha256 === null ? {} : { hashes: [{ alg: 'SHA-256', content: droplet.sha256 }] }),
      },
      properties: [
        { name: 'bloomery:app', value: app.guid },
        ...(droplet.stack === null ? [] : [{ name: 'bloomery:stack', value: droplet.stack }]),
      ],
    },
    components: components.map((each) => ({
      type: each.kind === 'application' ? 'platform' : 'library',
      'bom-ref': each.purl,
      ...nameOf(each),
      version: each.version,
      purl: each.purl,
      ...hashesOf(each.checksum),
      ...(each.source === '' ? {} : { properties: [{ name: 'bloomery:source', value: each.source }] }),
    })),
  }
}

function nameOf({ purl, name }: DropletComponent): { readonly group?: string; readonly name: string } {
  const at = purl.startsWith('pkg:maven/') ? name.indexOf(':') : -1
  return at < 0 ? { name } : { group: name.slice(0, at), name: name.slice(at + 1) }
}

/** Lock files write sha512-BASE64 or sha256:HEX. */
function hashesOf(checksum: string | null): { hashes?: readonly { alg: string; content: string }[] } {
  const match = /^(\w+)[-:](.+)$/.exec(checksum ?? '')
  const alg = ALGORITHMS[match?.[1]?.toLowerCase() ?? '']
  if (alg === undefined || match?.[2] === undefined) return {}
  const content = /^[0-9a-f]+$/i.test(match[2]) ? match[2].toLowerCase() : Buffer.from(match[2], 'base64').toString('hex')
  return { hashes: [{ alg, content }] }
}
