// Runs test/*.test.ts: bundled first, as Node 20 reads no TypeScript.
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "hourbook-web-"));
const tests = readdirSync("test").filter((name) => name.endsWith(".test.ts"));
try {
  await build({
    entryPoints: tests.map((name) => `test/${name}`),
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    sourcemap: "inline",
    logLevel: "warning",
  });
  const files = readdirSync(folder).map((name) => join(folder, name));
  // Local time is not UTC, so that a slip between the two is seen.
  const environment = { ...process.env, TZ: "Europe/Berlin" };
  process.exitCode = spawnSync(process.execPath, ["--test", "--test-reporter=dot", ...files], { stdio: "inherit", env: environment }).status ?? 1;
} finally {
  rmSync(folder, { recursive: true });
}
