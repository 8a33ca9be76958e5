// Builds the page into the folder that is named: `node build.mjs FOLDER`. deploy/web.sh does the rest.
//
// Scripts and styles get a hash of what is in them into their names, so that a browser may keep them for ever.
import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";

const folder = process.argv[2];
const result = await build({
  entryPoints: ["src/main.ts", "style.css", "icon.svg"],
  outdir: `${folder}/assets`,
  entryNames: "[name]-[hash]",
  loader: { ".svg": "copy" },
  bundle: true,
  minify: true,
  metafile: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
});

let page = await readFile("index.html", "utf8");
for (const [path, output] of Object.entries(result.metafile.outputs)) {
  const source = output.entryPoint ?? Object.keys(output.inputs)[0];
  const name = `assets/${basename(path)}`;
  if (!page.includes(`"${source}"`)) throw new Error(`index.html does not name ${source}`);
  page = page.replace(`"${source}"`, `"/${name}"`);
}
await mkdir(folder, { recursive: true });
await writeFile(`${folder}/index.html`, page);
