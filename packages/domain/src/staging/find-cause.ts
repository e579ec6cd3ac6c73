import type { FailureCause } from './failure-cause.js'

interface Sign {
  readonly cause: FailureCause
  readonly pattern: RegExp
  readonly nextStep: (found: RegExpExecArray) => string
}

const CHECK_NAME = 'Check its name and version in the app, and whether it is published where staging looks for packages.'

const UNREACHABLE =
  'Staging could not reach an address that it needs. Have the operator check proxies and the registry settings of the machine that stages apps, or push the packages with the app (vendored).'

/** What package managers and buildpacks print, the surest signs first. */
const SIGNS: readonly Sign[] = [
  {
    cause: 'network-refused',
    pattern: /no version of (\S+) matches \S+ None is available here/i,
    nextStep: ([, name = 'it']) =>
      `No source of ${name} is in reach of the machine that stages apps; the next lines name them. Have the operator open the way to one, or give it a buildpack that carries ${name} (a cached one); or push what was built elsewhere.`,
  },
  {
    cause: 'runtime-version',
    pattern:
      /no version of (\S+) matches|asks for (\S+) \S+, which is not available|no match found for .* in \[|DEPENDENCY MISSING IN MANIFEST|requested version .* is not (available|supported)/i,
    nextStep: () => 'Ask for a version that the output lists as available, or leave the version out to get the default one.',
  },
  {
    cause: 'runtime-version',
    pattern: /'([^']*)' is not a version range for (\S+?);/,
    nextStep: ([, range = '', name = 'it']) =>
      `Write a version of ${name} in place of '${range}' (22.x, ^20.11.0), or leave it out to get the default one.`,
  },
  {
    cause: 'lock-file',
    pattern:
      /npm (?:ci|error).*(?:can only install packages when your package\.json and|package-lock\.json .* are in sync)|ERR_PNPM_OUTDATED_LOCKFILE|lockfile needs to be updated|Your lock file does not contain|Pipfile\.lock .*out of date|missing go\.sum entry|updates to go\.(?:mod|sum) needed|The gemspecs? for .* changed|lock file .* is not up to date/i,
    nextStep: () =>
      "Bring the lock file up to date on your machine (the package manager's install command does it) and push it too.",
  },
  {
    cause: 'certificate',
    pattern:
      /self[- ]signed certificate|unable to get local issuer certificate|CERTIFICATE_VERIFY_FAILED|x509: certificate signed by unknown authority|SSL certificate problem|PKIX path building failed/i,
    nextStep: () =>
      "Have the operator add the authority's certificate to the machine: staging trusts what the machine trusts (BLOOMERY_TRUST_HOST_CERTIFICATES).",
  },
  {
    cause: 'network-refused',
    // pip goes on to say that it found no version; so does Maven of an artifact. Their last try is the surer sign.
    pattern:
      /Retry\(total=0,.*connection broken by|Could not transfer artifact .*(?:Unknown host|Connect(?:ion)? .*(?:refused|timed out))/i,
    nextStep: () => UNREACHABLE,
  },
  {
    cause: 'dependency-not-found',
    pattern:
      /npm (?:error|ERR!) (?:404 +'?([^\s']+)'? is not in|notarget No matching version found for (\S+))|No matching distribution found for (\S+)|Could not find artifact (\S+)|Couldn't find package "([^"]+)"|Could not find gem '([^']+)'|ERR_PNPM_(?:FETCH_404|NO_MATCHING_VERSION)\s+(.*)|Root composer\.json requires (\S+),? .*could not be found|module (\S+): (?:not found|no matching versions)|error NU1101: Unable to find package (\S+)|reading \S+\/mod\/(\S+): 404/i,
    nextStep: (found) => {
      const name = found.slice(1).find((each) => each !== undefined)
      return name === undefined ? CHECK_NAME : `${name.replace(/[.,;:]+$/, '')} was not found. ${CHECK_NAME}`
    },
  },
  {
    cause: 'buildpack-unavailable',
    // Before what git and curl say of the way there: it is the buildpack's address that matters, not that of packages.
    pattern: /Failed to (?:download buildpack|clone git repository at|checkout branch \S+ for git repository at) '?([^\s']+)/i,
    nextStep: ([, address = '']) =>
      `Check the buildpack's address (${address.replace(/[:.,]+$/, '')}), its branch or tag, and with the operator whether the machine that stages apps reaches it. What cf buildpacks lists needs no address: cf push -b NAME.`,
  },
  {
    cause: 'network-refused',
    pattern:
      /getaddrinfo (?:ENOTFOUND|EAI_AGAIN)|Could not (?:resolve|reach) host|could not get Gradle itself|curl error (?:5|6|7|28|35|52|56) while|java\.net\.(?:UnknownHost|Connect|NoRouteToHost|SocketTimeout)Exception|Name or service not known|Temporary failure in name resolution|no such host|ECONNREFUSED|Connection refused|ETIMEDOUT|ECONNRESET|connection timed out|Network is unreachable|i\/o timeout|Failed to connect to|Received HTTP code (?:403|407) from proxy|40[37] (?:Forbidden|Proxy Authentication)|E403/i,
    nextStep: () => UNREACHABLE,
  },
  {
    cause: 'buildpack-unavailable',
    pattern: /malformed buildpack does not contain a \/bin dir: (\S+)/i,
    nextStep: ([, name = '']) =>
      `${name} has to hold bin/ at its top, or one folder down. Check its address, branch or tag, or have the operator upload its folder anew (cf update-buildpack NAME -p FOLDER).`,
  },
  {
    cause: 'buildpack-unavailable',
    pattern: /does not support multi-buildpack/i,
    nextStep: () =>
      'Every buildpack but the last only supplies, and needs bin/supply for that: name the one that lacks it last, or leave it out.',
  },
  {
    cause: 'script-exit',
    pattern: /Procfile: invalid|Failed to read command from Procfile/i,
    nextStep: () => 'Write Procfile as lines of the form web: COMMAND.',
  },
  {
    cause: 'script-exit',
    pattern: /npm (?:error|ERR!) Missing script: "?([^"]+)"?/i,
    nextStep: (found) => `Add a script '${found[1] ?? ''}' to package.json.`,
  },
  {
    cause: 'script-exit',
    pattern: /\*\*ERROR\*\* the script (\S+) of package\.json failed with exit status (\d+)/,
    nextStep: ([, name = '', status = '']) =>
      `${name} is a script of the app's own; it ended with ${status}. Mend it, or try it as staging does: NODE_ENV=production npm run ${name} in a fresh checkout.`,
  },
  {
    cause: 'script-exit',
    pattern: /Permission denied/i,
    nextStep: () => 'A file lacks the permission that the build needs, often to be executed: chmod +x it and push again.',
  },
  {
    cause: 'network-refused',
    // What curl ends with when it finds no host, no server, no answer in time; told to be silent it says no more.
    pattern: /Failed to compile droplet: .*exit status (?:6|7|28|35|56)$/,
    nextStep: () =>
      'The buildpack ended as a download does that reaches nothing. Have the operator check whether the machine that stages apps reaches the addresses of this buildpack, or use a cached (offline) one.',
  },
  {
    cause: 'script-exit',
    pattern: /Invalid requirement: (.*) \(from line (\d+) of (?:\/tmp\/app\/)?(\S+)\)/,
    nextStep: ([, text = '', line = '', file = '']) => `Mend line ${line} of ${file}: pip cannot read ${text}.`,
  },
  {
    cause: 'script-exit',
    pattern: /Non-(?:readable|parseable) POM (?:\/tmp\/app\/)?([^\s:]+)/,
    nextStep: ([, file = 'pom.xml']) => `${file} cannot be read; the line with its name says where. Mend it, and push again.`,
  },
  {
    cause: 'script-exit',
    pattern: /\[ERROR\] COMPILATION ERROR/,
    nextStep: () => 'The code does not compile; the lines with [ERROR] say where. Mend it, and push again.',
  },
  {
    cause: 'script-exit',
    pattern: /^\s*(?:\.\/)?(\S+\.go:\d+)(?::\d+)?: (\S.*)/,
    nextStep: ([, place = '', what = '']) => `The code does not compile (${place}: ${what}). Mend it, and push again.`,
  },
  {
    cause: 'script-exit',
    pattern: /\*\*ERROR\*\* .*output above says why/,
    nextStep: () => 'The lines before the one with **ERROR** say what failed. Mend that, and push again.',
  },
  {
    cause: 'script-exit',
    // Our own buildpacks say what is wrong with the app in such a line, and often what to do in the next.
    pattern: /\*\*ERROR\*\* (\S.*)/,
    nextStep: () => 'Mend what the line with **ERROR** names, and push again.',
  },
]

/** The surest sign in an output of what went wrong, and the number of its line. */
export function findCause(
  lines: readonly string[],
): { readonly cause: FailureCause; readonly nextStep: string; readonly line: number } | undefined {
  for (const { cause, pattern, nextStep } of SIGNS)
    for (const [line, text] of lines.entries()) {
      const found = pattern.exec(text)
      if (found) return { cause, nextStep: nextStep(found), line }
    }
  return undefined
}
