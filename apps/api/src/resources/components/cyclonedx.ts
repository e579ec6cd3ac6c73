import type { Droplet, DropletComponent } from '@bloomery/database'

/** By the name in lock files: CycloneDX's, and how long the checksum is in hexadecimal digits. */
const ALGORITHMS: Readonly<Record<string, { readonly alg: string; readonly digits: number }>> = {
  md5: { alg: 'MD5', digits: 32 },
  sha1: { alg: 'SHA-1', digits: 40 },
  sha256: { alg: 'SHA-256', digits: 64 },
  sha384: { alg: 'SHA-384', digits: 96 },
  sha512: { alg: 'SHA-512', digits: 128 },
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

/** Lock files write sha512-BASE64 or sha256:HEX; what is neither says nothing, for one wrong field makes the document invalid. */
function hashesOf(checksum: string | null): { hashes?: readonly { alg: string; content: string }[] } {
  const match = /^(\w+)[-:](.+)$/.exec(checksum ?? '')
  const algorithm = ALGORITHMS[match?.[1]?.toLowerCase() ?? '']
  if (algorithm === undefined || match?.[2] === undefined) return {}
  const content = /^[0-9a-f]+$/i.test(match[2]) ? match[2].toLowerCase() : Buffer.from(match[2], 'base64').toString('hex')
  return content.length === algorithm.digits ? { hashes: [{ alg: algorithm.alg, content }] } : {}
}
