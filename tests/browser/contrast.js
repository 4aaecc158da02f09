// Texts whose contrast on what lies behind them is below `limit`: [words, ratio, colour].
(limit) => {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 1;
    const pen = canvas.getContext('2d', { willReadFrequently: true });
    const rgba = text => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = text;
        pen.fillRect(0, 0, 1, 1);
        const d = pen.getImageData(0, 0, 1, 1).data;
        return [d[0], d[1], d[2], d[3] / 255];
    };
    const over = (top, low) => [0, 1, 2].map(i => top[i] * top[3] + low[i] * (1 - top[3])).concat(1);
    const light = colour => {
        const [r, g, b] = colour.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const parent = node => node.parentElement || (node.getRootNode().host ?? null);
    const ground = node => {
        const layers = [];
        for (let n = node; n; n = parent(n)) {
            const colour = rgba(getComputedStyle(n).backgroundColor);
            if (colour[3] > 0) layers.push(colour);
            if (colour[3] === 1) break;
        }
        return layers.reverse().reduce((low, top) => over(top, low), [255, 255, 255, 1]);
    };
    const faded = node => {
        let opacity = 1;
        for (let n = node; n; n = parent(n)) opacity *= Number(getComputedStyle(n).opacity);
        return opacity;
    };
    const spared = 'svg,canvas,style,script,[aria-hidden=true],:disabled,[aria-disabled=true],[data-testid=stIconMaterial]';
    const bad = [];
    const look = root => {
        for (const node of root.querySelectorAll('*')) {
            if (node.shadowRoot) look(node.shadowRoot);
            const words = [...node.childNodes].filter(c => c.nodeType === 3).map(c => c.textContent.trim()).join(' ').trim();
            if (!words || node.closest(spared)) continue;
            const box = node.getBoundingClientRect(), style = getComputedStyle(node);
            if (!box.width || !box.height || style.visibility === 'hidden' || style.clipPath === 'inset(50%)') continue;
            const back = ground(node), ink = rgba(style.color);
            ink[3] *= faded(node);
            const a = light(over(ink, back)), b = light(back);
            const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            if (ratio < limit) bad.push([words.slice(0, 60), Math.round(ratio * 100) / 100, style.color]);
        }
    };
    look(document.body);
    return bad;
}
